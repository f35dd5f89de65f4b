"""The mapping file as pydantic models. include/mappings/mapping.schema.json is generated from here; docs/mapping-reference.md explains it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from salesforce_sync.mapping.transforms import TRANSFORMS, TransformCall, parse_call


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VendorSide(_Strict):
    """Where records come from: the hook's stream, and the dotted path of each record's id there."""

    stream: str = Field(description="A stream that the system's hook offers.")
    id: str = Field(description="Dotted path of the record's id at the vendor.")
    constants: dict[str, str] = Field(
        default_factory=dict, description="To the vendor: dotted path -> what every record gets there."
    )


class ConvertedLeads(_Strict):
    """Where changes of a Lead go once people have converted it."""

    object: Literal["Contact", "Account"] = Field(description="What the Lead became.")
    fields: dict[str, str] = Field(
        description="Field of the Lead -> field of the Contact or Account; others are dropped.", min_length=1
    )


class FieldMapping(_Strict):
    """How one Salesforce field gets its value."""

    vendor: str | None = Field(None, description="Dotted path of the value in the vendor's record.")
    value: str | int | float | bool | None = Field(None, description="A constant, instead of a vendor path.")
    stamp: bool = Field(
        False,
        description="To Salesforce: the moment of the delivery, instead of a vendor path. It makes no record differ: it goes with what changed.",
    )
    required: bool = Field(
        False, description="A record without this value is refused, with the reason, and dead-lettered."
    )
    transforms: tuple[TransformCall, ...] = Field(
        (), description="Named transforms, in order: `trim`, or `{truncate: 80}`."
    )
    values: dict[str, str | bool | tuple[str, ...]] | None = Field(
        None,
        description="Value before -> value after, in the mapping's direction; a value that is not listed is refused. Both ways: Salesforce's "
        "value -> the vendor's, or a list of the vendor's, of which the first is what the vendor gets.",
    )
    direction: Literal["to_salesforce", "to_vendor", "both"] = Field(
        "both", description="In a mapping both ways: the side, or the sides, to which the field goes."
    )
    transforms_to_vendor: tuple[TransformCall, ...] = Field(
        (),
        description="In a mapping both ways: the transforms on the way to the vendor; `transforms` are those on the way to Salesforce.",
    )
    user: bool = Field(
        False,
        description="In a mapping both ways: the field holds a user, who is found on the other side by the id that the vendor has of Salesforce's "
        "user, else by the e-mail address.",
    )
    when_empty: Literal["clear", "keep"] = Field(
        "clear",
        description="What a missing value does to the field on the side that is written: empty it, or leave it alone.",
    )
    unique: bool = Field(False, description="To the vendor: records with the same value here are one record there.")
    type: Literal["text", "number", "boolean"] = Field(
        "text", description="To the vendor: as what the value is sent; dates and times are texts, as ISO 8601 in UTC."
    )
    consent: bool = Field(
        False,
        description="A person's consent; no undo touches it. To the vendor: Y or N, sent when it is given or taken back, and not with "
        "other changes.",
    )

    @field_validator("transforms", "transforms_to_vendor", mode="before")
    @classmethod
    def _parse_transforms(cls, value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError("must be a list")
        return tuple(parse_call(item) for item in value)

    @model_validator(mode="after")
    def _one_source(self) -> FieldMapping:
        has_value = "value" in self.model_fields_set
        if (self.vendor is not None) + has_value + self.stamp != 1:
            raise ValueError("needs one of `vendor` (a path), `value` (a constant) and `stamp` (true)")
        if self.vendor is None and (self.transforms or self.values or self.required):
            raise ValueError("a constant, or a stamp, takes no transforms, values or required")
        return self

    @property
    def has_lists(self) -> bool:
        """Whether several of the vendor's values are one of Salesforce's."""
        return any(isinstance(value, tuple) for value in (self.values or {}).values())


def _from_shorthand(value: Any) -> Any:
    """A bare string is the vendor path."""
    return {"vendor": value} if isinstance(value, str) else value


class FindBy(_Strict):
    """How the record that is updated is found in Salesforce."""

    field: str = Field(
        description="API name of the field that has the value: `Id`, an external id, or another one that should be unique."
    )
    vendor: str = Field(description="Dotted path of the value in the vendor's record.")
    missing: Literal["refuse", "skip"] = Field(
        "refuse",
        description="What happens to a record that Salesforce has none for. One that it has several for is refused.",
    )


class WithParent(_Strict):
    """The parent that a record is kept equal with: both are written, or none."""

    reference: str = Field(description="The record's field that holds the parent's id, such as AccountId.")
    object: str = Field(description="API name of the parent's object.")
    external_id: str = Field(
        description="API name of the parent's unique external id field, which gets the vendor's id of the record."
    )

    @property
    def prefix(self) -> str:
        """How the parent's fields are named in the mapping."""
        name = self.reference
        relationship = f"{name[:-1]}r" if name.endswith("__c") else name.removesuffix("Id")
        return f"{relationship}."


class AlsoCreate(_Strict):
    """A record that is created with a new one, all of them or none; afterwards it belongs to people."""

    object: str = Field(description="API name of its object.")
    external_id: str = Field(
        description="API name of its unique external id field, which gets the vendor's id of the record."
    )
    references: dict[str, Literal["record", "parent"]] = Field(
        default_factory=dict, description="Its reference field -> whose id it gets: the record's, or its parent's."
    )
    fields: dict[str, Annotated[FieldMapping, BeforeValidator(_from_shorthand)]] = Field(
        description="Its field -> vendor path, or a field mapping.", min_length=1
    )

    @property
    def prefix(self) -> str:
        """How its fields are named where they stand beside the record's."""
        return f"{self.object}:"


class SalesforceSide(_Strict):
    """The object on Salesforce's side."""

    object: str = Field(description="API name of the object.")
    external_id: str = Field(
        "",
        description="To Salesforce: API name of its unique external id field, which holds the vendor's id: the upsert key. `Id`, when the vendor "
        "holds the Salesforce id: then records are updated, and none is created.",
    )
    find_by: FindBy | None = Field(
        None,
        description="To Salesforce, instead of external_id: records are updated and none is created; this says how each is found.",
    )
    where: str = Field("", description="To the vendor: a SOQL condition; records that do not fulfil it are left alone.")
    parent: str | None = Field(
        None,
        description="A mapped reference field: rows with the same parent are sent together, against lock conflicts.",
    )
    assign_owners: bool = Field(False, description="Let the org's assignment rules choose owners of new records.")
    allow_duplicates: bool | None = Field(
        None,
        description="Save what a duplicate rule of the org only warns of, or never; left out: as the org's rules say.",
    )
    converted: ConvertedLeads | None = Field(
        None, description="For Leads: where changes of converted ones go; left out: they are refused."
    )
    with_parent: WithParent | None = Field(
        None,
        description="Both ways: the parent whose fields, named by paths such as Account.Name, are kept equal with the record's.",
    )
    also_create: AlsoCreate | None = Field(
        None, description="Both ways: a record that is created with each new one, such as an Opportunity."
    )


class Creation(_Strict):
    """Which records that are on one side only are created on the other."""

    when: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Field of the record, in its own side's words -> the values of which it has to have one, for all of them; empty: every record.",
    )


class CreationRules(_Strict):
    to_salesforce: Creation = Creation()
    to_vendor: Creation = Creation()


class MappingFile(_Strict):
    """One mapping file. Salesforce stands on the left and the vendor on the right, whichever side is written."""

    version: Literal[1] = Field(description="The version of this file format.")
    summary: str = Field(description="One sentence: what is kept equal to what.")
    vendor: VendorSide
    salesforce: SalesforceSide
    deduplicate: str | None = Field(
        None,
        description="To Salesforce, by `Id`: a vendor path; of records with the same value there, the last one is sent.",
    )
    direction: Literal["to_salesforce", "to_vendor", "both"] = Field(
        "to_salesforce", description="Which side is written."
    )
    create: CreationRules = Field(
        CreationRules(),
        description="Both ways: which records are created on the other side. Once a record has a counterpart, its changes always go there.",
    )
    match: tuple[str, ...] = Field(
        (),
        description="Both ways: Salesforce fields by whose values, all of them, records without a counterpart are found on the other side, beside "
        "the ids that each side has of the other.",
    )
    yields_to: str | None = Field(
        None,
        description="To the vendor: a mapping; a record that is unique by a value that a record of that mapping has is left to it.",
    )
    create_only: bool = Field(
        False, description="Records are created and never written again: afterwards they belong to people."
    )
    keep_before: bool | None = Field(
        None,
        description="To Salesforce: read the values before a record is updated, and keep them in the plan, so that it can be undone. Left out: "
        "for standard objects; of others, the plans before are known.",
    )
    fields: dict[str, Annotated[FieldMapping, BeforeValidator(_from_shorthand)]] = Field(
        description="Salesforce field -> vendor path, or a field mapping.", min_length=1
    )

    @model_validator(mode="after")
    def _direction_fits(self) -> MappingFile:
        side = self.salesforce
        if self.direction == "both":
            _check_both_ways(self)
            return self
        one_way = [
            name
            for name, item in self.fields.items()
            if item.direction != "both" or item.transforms_to_vendor or item.user or item.has_lists
        ]
        if side.with_parent or side.also_create:
            raise ValueError("direction: salesforce.with_parent and salesforce.also_create are for both")
        if one_way or self.match or self.create != CreationRules():
            raise ValueError(
                f"direction: {'fields.' + one_way[0] if one_way else '`match` and `create`'}: `direction`, `transforms_to_vendor`, `user` "
                "and lists of values of a field, and `match` and `create`, are for both"
            )
        if self.direction == "to_salesforce":
            _check_find_by(self)
            if (
                side.where
                or self.yields_to
                or self.vendor.constants
                or any(item.unique for item in self.fields.values())
            ):
                raise ValueError("direction: `where`, `yields_to`, `constants` and `unique` are for to_vendor")
            typed = [name for name, item in self.fields.items() if item.type != "text"]
            if typed:
                raise ValueError(
                    f"fields.{typed[0]}: `type` is for to_vendor: to Salesforce, the field says what it is"
                )
            return self
        if side.find_by or any(item.stamp for item in self.fields.values()):
            raise ValueError("direction: `find_by` and `stamp` are for to_salesforce")
        constants = [name for name, item in self.fields.items() if item.vendor is None]
        if constants:
            raise ValueError(f"fields.{constants[0]}: a constant of the vendor's side belongs into vendor.constants")
        typed = [name for name, item in self.fields.items() if item.type != "text" and (item.unique or item.consent)]
        if typed:
            raise ValueError(f"fields.{typed[0]}: what is unique, and consent, is sent as text: leave `type` out")
        if not any(item.unique for item in self.fields.values()):
            raise ValueError("fields: one of them has to be `unique`, so that the vendor knows its records again")
        if (
            side.external_id
            or side.parent
            or side.converted
            or side.assign_owners
            or side.allow_duplicates is not None
            or self.create_only
        ):
            raise ValueError(
                "direction: `external_id`, `parent`, `converted`, `create_only` and the rules of the org are for to_salesforce"
            )
        return self

    @model_validator(mode="after")
    def _deduplicated_by_a_field_beside_the_id(self) -> MappingFile:
        if self.deduplicate is not None and not self.has_salesforce_ids:
            raise ValueError(
                "deduplicate: the Salesforce ID has to be among the fields: set salesforce.external_id to Id"
            )
        return self

    @model_validator(mode="after")
    def _external_id_is_implied(self) -> MappingFile:
        if self.key in self.fields:
            raise ValueError(f"fields.{self.key}: the external id is filled from vendor.id; do not list it")
        return self

    @model_validator(mode="after")
    def _options_name_mapped_fields(self) -> MappingFile:
        side = self.salesforce
        if side.parent is not None and side.parent not in self.fields:
            raise ValueError(f"salesforce.parent: {side.parent} is not among the fields")
        if side.converted is not None:
            unmapped = [name for name in side.converted.fields if name not in self.fields]
            if side.object != "Lead" or unmapped:
                raise ValueError(
                    f"salesforce.converted: is for Leads and their mapped fields only{': ' + unmapped[0] if unmapped else ''}"
                )
        return self

    def one_way(self, direction: Literal["to_salesforce", "to_vendor"]) -> MappingFile:
        """What a mapping both ways does in one of its directions, as a mapping of that direction."""
        fields = {
            name: _one_way(item, direction)
            for name, item in self.fields.items()
            if item.direction in (direction, "both")
        }
        side = self.salesforce
        if direction == "to_vendor":
            side = side.model_copy(update={"external_id": "", "with_parent": None, "also_create": None})
        elif side.also_create:
            fields |= {f"{side.also_create.prefix}{name}": item for name, item in side.also_create.fields.items()}
        return self.model_copy(update={"direction": direction, "fields": fields, "salesforce": side})

    @property
    def parts(self) -> dict[str, MappingFile]:
        """What a mapping to Salesforce writes to each object, as a mapping to that object alone, by how the names of
        its fields begin here: "" for the record itself. References between the records stand in it as constants without
        a value."""
        side = self.salesforce
        parent, also = side.with_parent, side.also_create
        if self.direction != "to_salesforce" or not (parent or also):
            return {"": self}
        found: dict[str, MappingFile] = {}
        if parent:
            found[parent.prefix] = self._part(parent.object, parent.external_id, parent.prefix)
        others = tuple(item.prefix for item in (parent, also) if item)
        own = {name: item for name, item in self.fields.items() if not name.startswith(others)}
        if parent:
            own[parent.reference] = _FILLED
        plain = side.model_copy(update={"with_parent": None, "also_create": None})
        found[""] = self.model_copy(update={"fields": own, "salesforce": plain})
        if also:
            found[also.prefix] = self._part(also.object, also.external_id, also.prefix, also.references)
        return found

    def _part(self, name: str, external_id: str, prefix: str, references: Iterable[str] = ()) -> MappingFile:
        fields = {path.removeprefix(prefix): item for path, item in self.fields.items() if path.startswith(prefix)}
        fields |= dict.fromkeys(references, _FILLED)
        side = SalesforceSide.model_validate({"object": name, "external_id": external_id})
        return self.model_copy(update={"fields": fields, "salesforce": side})

    @property
    def is_update_only(self) -> bool:
        """Whether records are updated by their Salesforce id, so that none is created."""
        return self.key == "Id"

    @property
    def key(self) -> str:
        """The Salesforce field by which rows are written: the upsert key, or `Id`."""
        return "Id" if self.salesforce.find_by else self.salesforce.external_id

    @property
    def has_salesforce_ids(self) -> bool:
        """Whether the vendor's ids are Salesforce's."""
        return self.salesforce.external_id == "Id"

    @property
    def stamps(self) -> tuple[str, ...]:
        """The Salesforce fields that get the moment of the delivery."""
        return tuple(name for name, item in self.fields.items() if item.stamp)

    @property
    def vendor_paths(self) -> tuple[str, ...]:
        """Every vendor path that the mapping reads, the id first: all of a record that is staged."""
        also = self.salesforce.also_create
        items = [*self.fields.values(), *(also.fields.values() if also else ())]
        found_by = [self.salesforce.find_by.vendor] if self.salesforce.find_by else []
        return tuple(dict.fromkeys([self.vendor.id, *found_by, *(item.vendor for item in items if item.vendor)]))

    @property
    def vendor_written(self) -> frozenset[str]:
        """The vendor paths that a mapping both ways writes."""
        return frozenset(
            str(item.vendor) for item in self.fields.values() if item.vendor and item.direction != "to_salesforce"
        )

    @property
    def salesforce_paths(self) -> tuple[str, ...]:
        """Every Salesforce field that a mapping to the vendor reads, the Id first."""
        return tuple(dict.fromkeys(["Id", *self.fields]))

    @property
    def unique(self) -> tuple[str, ...]:
        """The Salesforce fields whose values make a record unique at the vendor."""
        return tuple(name for name, item in self.fields.items() if item.unique)

    @property
    def consent(self) -> str | None:
        """The vendor path of the consent, if the mapping goes to a vendor and has one."""
        if self.direction == "to_salesforce":
            return None
        return next((item.vendor for item in self.fields.values() if item.consent), None)

    @property
    def emptied_by_null(self) -> tuple[str, ...]:
        """The vendor paths that are no texts, and that a missing value empties: by null."""
        items = self.fields.values()
        return tuple(
            item.vendor for item in items if item.vendor and item.type != "text" and item.when_empty == "clear"
        )

    @property
    def emptiable(self) -> dict[str, str]:
        """What a missing value empties on the side that is written -> the path that it is read from."""
        clearing = [(name, item) for name, item in self.fields.items() if item.vendor and item.when_empty == "clear"]
        if self.direction == "to_salesforce":
            return {name: str(item.vendor) for name, item in clearing}
        return {str(item.vendor): name for name, item in clearing}

    @property
    def reads_before(self) -> bool:
        """Whether the values before are read, and kept in the plan, before records are updated."""
        if self.direction != "to_salesforce" or self.create_only:
            return False
        return self.keep_before if self.keep_before is not None else not self.salesforce.object.endswith("__c")

    @property
    def clears(self) -> frozenset[str]:
        """The Salesforce fields that a missing value empties."""
        return frozenset(name for name, item in self.fields.items() if item.vendor and item.when_empty == "clear")


_FILLED = FieldMapping.model_validate({"value": None})  # a field that the writing itself fills


def _check_find_by(mapping: MappingFile) -> None:
    """ValueError for what does not fit the way in which a mapping to Salesforce finds its records."""
    side = mapping.salesforce
    if bool(side.external_id) == bool(side.find_by):
        raise ValueError(
            "salesforce.external_id: a mapping to Salesforce needs an upsert key, or find_by, and not both"
        )
    if side.find_by and mapping.vendor.id.rpartition(".")[2].lower() in ("email", "email_address", "emailaddress"):
        raise ValueError(
            "vendor.id: an e-mail address would be kept without end: name another id here, and the address in salesforce.find_by"
        )
    if side.find_by and mapping.create_only:
        raise ValueError("create_only: with salesforce.find_by nothing is created")


def _check_both_ways(mapping: MappingFile) -> None:
    """ValueError for what a mapping both ways cannot have."""
    side = mapping.salesforce
    if not side.external_id or side.external_id == "Id" or side.find_by:
        raise ValueError("salesforce.external_id: missing: both ways need a field that holds the vendor's id")
    if mapping.yields_to or mapping.vendor.constants or mapping.create_only or mapping.deduplicate or side.converted:
        raise ValueError(
            "direction: `yields_to`, `constants`, `create_only`, `deduplicate` and `converted` are not for both"
        )
    for name, item in mapping.fields.items():
        if item.unique or item.consent or item.vendor is None:
            raise ValueError(f"fields.{name}: constants, stamps, `unique` and `consent` are not for both ways")
        kept_equal = side.with_parent and name.startswith(side.with_parent.prefix) and name.count(".") == 1
        if "." in name and item.direction != "to_vendor" and not kept_equal:
            raise ValueError(
                f"fields.{name}: a parent's field can only go to the vendor, unless salesforce.with_parent names the parent: set its "
                "direction to to_vendor"
            )
    if side.with_parent and side.with_parent.reference in mapping.fields:
        raise ValueError(f"fields.{side.with_parent.reference}: salesforce.with_parent fills it; do not list it")
    _check_also_create(side)
    wanted = {*mapping.match}
    unknown = sorted(wanted - mapping.fields.keys())
    if unknown:
        raise ValueError(f"match: {unknown[0]} is not among the fields")


def _check_also_create(side: SalesforceSide) -> None:
    also = side.also_create
    if also is None:
        return
    if "parent" in also.references.values() and side.with_parent is None:
        raise ValueError("salesforce.also_create.references: there is no salesforce.with_parent to refer to")
    for name, item in also.fields.items():
        odd = [
            key
            for key in ("direction", "transforms_to_vendor", "user", "unique", "type", "consent")
            if getattr(item, key) != getattr(_FILLED, key)
        ]
        if odd or item.has_lists or "." in name or name in also.references:
            raise ValueError(
                f"salesforce.also_create.fields.{name}: it goes to Salesforce once, by a path or a constant of its own"
            )


def _one_way(item: FieldMapping, direction: str) -> FieldMapping:
    """A field of a mapping both ways, as that of a mapping in one direction."""
    values: dict[str, str | bool | tuple[str, ...]] | None = None
    if item.values is not None and direction == "to_vendor":
        values = {ours: theirs[0] if isinstance(theirs, tuple) else theirs for ours, theirs in item.values.items()}
    elif item.values is not None:
        values = {}
        for ours, theirs in item.values.items():
            for one in theirs if isinstance(theirs, tuple) else (theirs,):
                values.setdefault(str(one).lower() if isinstance(one, bool) else one, ours)
    transforms = item.transforms_to_vendor if direction == "to_vendor" else item.transforms
    return item.model_copy(update={"values": values, "transforms": transforms})


def json_schema() -> dict[str, Any]:
    """The JSON Schema that editors check mapping files with."""
    schema = MappingFile.model_json_schema()
    call = {
        "anyOf": [
            {"enum": sorted(name for name, item in TRANSFORMS.items() if item.argument is None)},
            {
                "type": "object",
                "properties": {name: {"type": "integer"} for name, item in sorted(TRANSFORMS.items()) if item.argument},
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            },
        ]
    }
    for name in ("transforms", "transforms_to_vendor"):
        schema["$defs"]["FieldMapping"]["properties"][name]["items"] = call
    schema["$defs"].pop("TransformCall", None)
    schema["properties"]["fields"]["additionalProperties"] = {
        "anyOf": [{"type": "string"}, {"$ref": "#/$defs/FieldMapping"}]
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "salesforce_sync mapping file"} | schema
