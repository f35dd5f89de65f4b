"""Salesforce's errors, with the code that goes over the wire and the HTTP status that belongs to it."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An error as an org reports it; `fields` names the offending fields, `extra` holds keys only some errors have."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int = 400,
        fields: list[str] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status
        self.fields, self.extra = fields, extra or {}

    def as_rest(self) -> dict[str, Any]:
        """One element of the JSON array that a REST error body is."""
        body: dict[str, Any] = {"message": self.message, "errorCode": self.code}
        if self.fields is not None:
            body["fields"] = self.fields
        return body | self.extra

    def as_row(self) -> dict[str, Any]:
        """One element of `errors` in a result row of a collection: the code's key is another one, and nothing is extra."""
        return {"statusCode": self.code, "message": self.message, "fields": self.fields or []}

    def as_bulk(self) -> str:
        """The `sf__Error` cell of a Bulk API 2.0 result."""
        fields = ",".join(self.fields or [])
        return f"{self.code}:{self.message}:{fields} --" if fields else f"{self.code}:{self.message}:--"


def not_found(message: str = "The requested resource does not exist") -> ApiError:
    return ApiError("NOT_FOUND", message, status=404)


def invalid_auth_header() -> ApiError:
    return ApiError("INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE", status=401)


def invalid_session() -> ApiError:
    return ApiError("INVALID_SESSION_ID", "Session expired or invalid", status=401)


def method_not_allowed(method: str, allowed: str) -> ApiError:
    return ApiError("METHOD_NOT_ALLOWED", f"HTTP Method '{method}' not allowed. Allowed are {allowed}", status=405)


def invalid_type(name: str) -> ApiError:
    return ApiError(
        "INVALID_TYPE",
        f"sObject type '{name}' is not supported. If you are attempting to use a custom object, be sure to append the '__c' "
        "after the entity name. Please reference your WSDL or the describe call for the appropriate names.",
    )


def required_missing(names: list[str]) -> ApiError:
    return ApiError("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(names)}]", fields=names)
