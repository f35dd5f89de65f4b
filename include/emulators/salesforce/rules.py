"""What an org checks of one value before it stores it: type, length, picklist, e-mail, access. Pure functions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from emulators.salesforce.errors import ApiError
from emulators.salesforce.ids import looks_like_id, to_18
from emulators.salesforce.schema import Field, Schema
from emulators.salesforce.store import timestamp

_EMAIL = re.compile(r"[^\s@,;<>()\[\]]+@[^\s@,;<>()\[\]]+\.[A-Za-z]{2,}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,3})?Z?")
COLUMN = "col ?"  # in a message; who knows the column puts its number there
FIRST_YEAR = 1700  # an org keeps no earlier dates
_TRUE_FALSE = {"true": 1, "false": 0, "1": 1, "0": 0}

Check = Callable[[Any], Any]


def check_null(item: Field) -> None:
    """ApiError for a checkbox: it is true or false, and never nothing."""
    if item.type == "boolean":
        raise ApiError(
            "INVALID_TYPE_ON_FIELD_IN_RECORD", f"{item.label}: value not of required type: ", fields=[item.name]
        )


def checker(item: Field, schema: Schema, *, from_csv: bool) -> Check:
    """A function that turns a value from the wire into the stored value, or raises the org's ApiError.

    A CSV gives strings only; JSON must give the right type.
    """
    if item.is_text:
        return _text_checker(item, from_csv)
    if item.type == "boolean":
        return _boolean_checker(item, from_csv)
    if item.type in ("int", "double", "currency", "percent"):
        return _number_checker(item, from_csv)
    if item.type == "date":
        return _date_checker(item, from_csv)
    if item.type == "datetime":
        return _datetime_checker(item, from_csv)
    if item.type == "time":
        return _time_checker(item, from_csv)
    if item.is_compound:
        return _refuse_compound(item)
    return _id_checker(item, schema)


def _wrong_type(item: Field, value: Any, from_csv: bool) -> ApiError:
    if from_csv:
        xsd = {"currency": "double", "percent": "double", "datetime": "dateTime"}.get(item.type, item.type)
        message = (
            f"Failed to deserialize field at {COLUMN}. Due to, '{value}' is not a valid value for the type xsd:{xsd}"
        )
        return ApiError("INVALID_FIELD", message, fields=[item.name])
    kind = {
        bool: "VALUE_TRUE" if value is True else "VALUE_FALSE",
        int: "VALUE_NUMBER_INT",
        float: "VALUE_NUMBER_FLOAT",
        str: "VALUE_STRING",
    }
    token = kind.get(type(value), "START_OBJECT")
    expected = {"currency": "double", "percent": "double"}.get(item.type, "string" if item.is_text else item.type)
    return ApiError(
        "JSON_PARSER_ERROR",
        f"Cannot deserialize instance of {expected} from {token} value {value} or request may be missing a required field",
    )


def _text_checker(item: Field, from_csv: bool) -> Check:
    allowed = {value.lower(): value for value in item.values} if item.restricted else None

    def check(value: Any) -> Any:
        if not isinstance(value, str):
            raise _wrong_type(item, value, from_csv)
        text = value.strip()
        if not text:
            return None
        if item.length and len(text) > item.length:
            raise ApiError(
                "STRING_TOO_LONG",
                f"{item.label}: data value too large: {text} (max length={item.length})",
                fields=[item.name],
            )
        if item.type == "email" and not _EMAIL.fullmatch(text):
            raise ApiError("INVALID_EMAIL_ADDRESS", f"{item.label}: invalid email address: {text}", fields=[item.name])
        if allowed is None:
            return text
        chosen = text.split(";") if item.type == "multipicklist" else [text]
        unknown = [part for part in chosen if part.strip().lower() not in allowed]
        if unknown:
            raise ApiError(
                "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
                f"{item.label}: bad value for restricted picklist field: {unknown[0]}",
                fields=[item.name],
            )
        return ";".join(allowed[part.strip().lower()] for part in chosen)

    return check


def _boolean_checker(item: Field, from_csv: bool) -> Check:
    def check(value: Any) -> Any:
        if isinstance(value, bool):
            return int(value)
        if from_csv and isinstance(value, str) and value.strip().lower() in _TRUE_FALSE:
            return _TRUE_FALSE[value.strip().lower()]
        raise _wrong_type(item, value, from_csv)

    return check


def _number_checker(item: Field, from_csv: bool) -> Check:
    limit = 10 ** (item.precision - item.scale)
    whole = item.type == "int"

    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise _wrong_type(item, value, from_csv)
        if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
            raise _wrong_type(item, value[:40], from_csv)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not abs(number) < limit:
            raise ApiError(
                "NUMBER_OUTSIDE_VALID_RANGE",
                f"{item.label}: value outside of valid range on numeric field: {value}"[:200],
                fields=[item.name],
            )
        if whole and number != int(number):
            raise _wrong_type(item, value, from_csv)
        return int(number) if whole else round(number, item.scale)

    return check


def _date_checker(item: Field, from_csv: bool) -> Check:
    def check(value: Any) -> Any:
        if isinstance(value, str) and _DATE.fullmatch(value.strip()):
            try:
                day = date.fromisoformat(value.strip())
            except ValueError:
                raise _wrong_type(item, value[:40], from_csv) from None
            if day.year >= FIRST_YEAR:
                return day.isoformat()
        raise _wrong_type(item, value, from_csv)

    return check


def _datetime_checker(item: Field, from_csv: bool) -> Check:
    def check(value: Any) -> Any:
        if isinstance(value, str) and _DATE_TIME.fullmatch(value.strip()):
            try:
                moment = datetime.fromisoformat(value.strip())
                stored = timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
            except (ValueError, OverflowError):
                raise _wrong_type(item, value[:40], from_csv) from None
            if moment.year >= FIRST_YEAR:
                return stored
        raise _wrong_type(item, value, from_csv)

    return check


def _time_checker(item: Field, from_csv: bool) -> Check:
    def check(value: Any) -> Any:
        if isinstance(value, str) and _TIME.fullmatch(value.strip()):
            return f"{value.strip()[:8]}.000Z"
        raise _wrong_type(item, value, from_csv)

    return check


def _refuse_compound(item: Field) -> Check:
    def check(value: Any) -> Any:
        raise ApiError(
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            f"Unable to create/update fields: {item.name}. Please check the security settings of this field and verify that it is read/write for "
            "your profile or permission set.",
            fields=[item.name],
        )

    return check


def _id_checker(item: Field, schema: Schema) -> Check:
    prefixes = {schema.objects[name].prefix for name in item.reference_to if name in schema.objects}

    def check(value: Any) -> Any:
        text = value.strip() if isinstance(value, str) else value
        if text == "":
            return None
        if not isinstance(text, str) or not looks_like_id(text) or (prefixes and text[:3] not in prefixes):
            raise ApiError("MALFORMED_ID", f"{item.label}: id value of incorrect type: {value}", fields=[item.name])
        return to_18(text)

    return check
