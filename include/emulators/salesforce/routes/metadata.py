"""Deployments over REST: /metadata/deployRequest."""

from __future__ import annotations

import json

from emulators.salesforce.errors import ApiError
from emulators.salesforce.metadata import deploy
from emulators.salesforce.org import Org
from emulators.salesforce.routes.body import flag, json_object, multipart
from emulators.wire import Call, Reply, Route


def create(org: Org, call: Call, version: str) -> Reply:
    """A multipart message with the parts `json` (deployOptions) and `file` (the zip), or {"validatedDeployRequestId": ...}."""
    if "multipart" not in call.headers.get("content-type", ""):
        validated = str(json_object(call).get("validatedDeployRequestId") or "")
        return Reply(_answer(org, deploy.start_validated(org, validated), details=True), status=201)
    parts = multipart(call)
    if parts is None or "file" not in parts:
        raise ApiError("INVALID_MULTIPART", "The message needs the parts 'json' and 'file'")
    try:
        given = json.loads(parts.get("json") or parts.get("entity_content") or b"{}")
    except ValueError as error:
        raise ApiError("JSON_PARSER_ERROR", f"The part 'json' is not JSON: {error}") from error
    options = given.get("deployOptions") if isinstance(given, dict) else None
    if not isinstance(options, dict):
        raise ApiError("INVALID_MULTIPART", "The part 'json' must hold deployOptions")
    return Reply(
        _answer(org, deploy.start(org, parts["file"], deploy.DeployOptions.read(options)), details=True), status=201
    )


def show(org: Org, call: Call, version: str, deployment_id: str) -> Reply:
    return Reply(_answer(org, deploy.find(org, deployment_id), details=flag(call.query.get("includeDetails"))))


def change(org: Org, call: Call, version: str, deployment_id: str) -> Reply:
    """Only one change is possible: to cancel."""
    deployment = deploy.find(org, deployment_id)
    wanted = json_object(call).get("deployResult")
    if not isinstance(wanted, dict) or wanted.get("status") != "Canceling":
        raise ApiError("INVALID_INPUT", "deployResult.status must be Canceling")
    if not deployment.done:
        deployment.status = "Canceled"
    return Reply(_answer(org, deployment, details=False), status=202)


def _answer(org: Org, deployment: deploy.Deployment, *, details: bool) -> dict[str, object]:
    return {
        "id": deployment.id, "validatedDeployRequestId": None, "deployOptions": deployment.options.on_the_wire(),
        "deployResult": deployment.result(org, details=details),
    }  # fmt: skip


_V = "/services/data/v{version}/metadata/deployRequest"
ROUTES = (
    Route(("POST",), _V, create),
    Route(("GET",), f"{_V}/{{deployment_id}}", show),
    Route(("PATCH",), f"{_V}/{{deployment_id}}", change),
)
