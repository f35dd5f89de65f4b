"""Groups: mappings that are delivered together, because they share what they write to."""

from __future__ import annotations

from dataclasses import dataclass

from salesforce_sync.mapping.model import MappingFile


@dataclass(frozen=True)
class Member:
    """A mapping with its name."""

    name: str
    mapping: MappingFile


@dataclass(frozen=True)
class Group:
    """`targets` are the names of all leases that a delivery needs: everything that it may write."""

    name: str
    targets: tuple[str, ...]
    members: tuple[Member, ...]

    @property
    def names(self) -> list[str]:
        return [member.name for member in self.members]

    @classmethod
    def to_salesforce(cls, name: str, mapping: MappingFile) -> Group:
        """A group of one mapping to Salesforce."""
        side = mapping.salesforce
        followed = [side.converted.object] if side.converted else []
        return cls(name, tuple(dict.fromkeys([side.object, *followed])), (Member(name, mapping),))

    @classmethod
    def to_vendor(cls, system: str, members: dict[str, MappingFile]) -> Group:
        """Mappings to one stream of a vendor; the first has precedence where records want the same place there."""
        (stream,) = {mapping.vendor.stream for mapping in members.values()}
        found = tuple(Member(name, mapping) for name, mapping in members.items())
        return cls("+".join(members), (f"{system}.{stream}",), found)
