"""Deployments: a package checked against the org and, unless it is only to be checked, put into it as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from emulators.salesforce.errors import ApiError
from emulators.salesforce.metadata.components import ComponentError, Draft, apply, order_of, remove
from emulators.salesforce.metadata.package import NAMESPACE, Component, Package, read_package
from emulators.salesforce.metadata.types import KNOWN_NAMES
from emulators.salesforce.org import Org
from emulators.salesforce.schema import Schema
from emulators.salesforce.store import timestamp

_workers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="deploy")  # an org deploys one package at a time


@dataclass(frozen=True)
class DeployOptions:
    check_only: bool = False
    rollback_on_error: bool = True
    ignore_warnings: bool = False
    single_package: bool = True
    purge_on_delete: bool = False
    allow_missing_files: bool = False
    test_level: str = "NoTestRun"
    run_tests: tuple[str, ...] = ()

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> DeployOptions:
        """Options by their names on the wire; values are booleans or their texts."""

        def flag(name: str, default: bool) -> bool:
            return str(given.get(name, default)).lower() == "true"

        tests = given.get("runTests")
        return cls(
            flag("checkOnly", False), flag("rollbackOnError", True), flag("ignoreWarnings", False), flag("singlePackage", True),
            flag("purgeOnDelete", False), flag("allowMissingFiles", False), str(given.get("testLevel") or "NoTestRun"),
            tuple(map(str, tests if isinstance(tests, list) else [tests])) if tests else (),
        )  # fmt: skip

    def on_the_wire(self) -> dict[str, Any]:
        return {
            "allowMissingFiles": self.allow_missing_files, "autoUpdatePackage": False, "checkOnly": self.check_only,
            "ignoreWarnings": self.ignore_warnings, "performRetrieve": False, "purgeOnDelete": self.purge_on_delete,
            "rollbackOnError": self.rollback_on_error, "runTests": list(self.run_tests) or None,
            "singlePackage": self.single_package, "testLevel": self.test_level,
        }  # fmt: skip


@dataclass
class Deployment:
    """One deployment; `status` goes from Pending over InProgress to Succeeded, SucceededPartial, Failed or Canceled."""

    id: str
    options: DeployOptions
    created: str
    status: str = "Pending"
    completed: str | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    error: ApiError | None = None
    content: bytes = b""
    files: int = 0

    @property
    def done(self) -> bool:
        return self.status not in ("Pending", "InProgress")

    @property
    def failures(self) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["problemType"] == "Error"]

    def result(self, org: Org, *, details: bool) -> dict[str, Any]:
        """The DeployResult, by its names on the wire."""
        own = [message for message in self.messages if message["componentType"]]
        answer: dict[str, Any] = {
            "checkOnly": self.options.check_only, "completedDate": self.completed, "createdBy": org.user_id, "createdByName": "Integration User",
            "createdDate": self.created, "done": self.done, "id": self.id, "ignoreWarnings": self.options.ignore_warnings,
            "lastModifiedDate": self.completed or self.created, "numberComponentErrors": len(self.failures),
            "numberComponentsDeployed": len([message for message in own if message["success"]]), "numberComponentsTotal": len(own),
            "numberFiles": self.files, "numberTestErrors": 0, "numberTestsCompleted": 0, "numberTestsTotal": 0,
            "rollbackOnError": self.options.rollback_on_error, "runTestsEnabled": False, "startDate": self.created, "status": self.status,
            "success": self.status in ("Succeeded", "SucceededPartial"), "zipSize": len(self.content),
        }  # fmt: skip
        if self.error is not None:
            answer |= {"errorMessage": self.error.message, "errorStatusCode": self.error.code}
        if details:
            answer["details"] = {
                "componentFailures": self.failures,
                "componentSuccesses": [message for message in self.messages if message["success"]],
                "runTestResult": {"numFailures": 0, "numTestsRun": 0, "totalTime": 0.0},
            }
        return answer


def start(org: Org, content: bytes, options: DeployOptions) -> Deployment:
    """Begins a deployment; it goes on in the background."""
    deployment = Deployment(org.new_id("0Af"), options, timestamp(org.clock.now()), content=content)
    org.deployments[deployment.id] = deployment
    _workers.submit(_run, org, deployment)
    return deployment


def start_validated(org: Org, validated_id: str) -> Deployment:
    """Deploys what was checked before: the quick deployment of a check-only one that succeeded."""
    checked = find(org, validated_id)
    if not checked.options.check_only or checked.status != "Succeeded":
        raise ApiError("INVALID_ID_FIELD", f"{validated_id} is no check-only deployment that succeeded", status=404)
    return start(org, checked.content, replace(checked.options, check_only=False))


def find(org: Org, deployment_id: str) -> Deployment:
    for known, item in list(org.deployments.items()):
        if known[:15] == deployment_id[:15]:
            found: Deployment = item
            return found
    raise ApiError("INVALID_ID_FIELD", f"no deployment with id {deployment_id}", status=404)


def _run(org: Org, deployment: Deployment) -> None:
    if deployment.status != "Pending":
        return
    deployment.status, options = "InProgress", deployment.options
    try:
        if options.test_level == "RunSpecifiedTests" and options.run_tests:
            raise ApiError(
                "INVALID_OPERATION",
                f"no Apex class named {options.run_tests[0]} found: there is no Apex in this emulator",
            )
        package = read_package(deployment.content, single=options.single_package)
        deployment.files = len({component.file_name for component in package.components})
        draft = draft_of(org)
        deployment.messages = messages = check(draft, package, org, timestamp(org.clock.now()))
        failed = bool(deployment.failures)
        if not options.check_only and not (failed and options.rollback_on_error):
            with org.store.writing():
                if deployment.status != "InProgress" or deployment.id not in org.deployments:
                    return  # cancelled, or the org was reset
                install(org, draft, package)
                _keep(org, deployment)
        some = any(message["success"] and message["componentType"] for message in messages)
        status = (
            "Succeeded" if not failed else "SucceededPartial" if some and not options.rollback_on_error else "Failed"
        )
    except ApiError as error:
        deployment.error, status = error, "Failed"
        text = {"problem": error.message, "problemType": "Error"}
        deployment.messages = [
            message("", "package.xml", "package.xml", now=timestamp(org.clock.now()), success=False, **text)
        ]
    except Exception as error:  # noqa: BLE001 - an emulator's own defect must show as a failed deployment, not as one that never ends
        deployment.error, status = ApiError("UNKNOWN_EXCEPTION", f"{type(error).__name__}: {error}"), "Failed"
    deployment.completed = timestamp(org.clock.now())
    if deployment.status == "InProgress":
        deployment.status = status


def draft_of(org: Org) -> Draft:
    known = {(kind, name) for kind, name in org.components}
    for sobject in org.schema.objects.values():
        if sobject.custom:
            known.add(("CustomObject", sobject.name))
        known |= {("CustomField", f"{sobject.name}.{item.name}") for item in sobject.fields.values() if item.custom}
    return Draft(Schema(dict(org.schema.objects)), known)


def check(draft: Draft, package: Package, org: Org, now: str) -> list[dict[str, Any]]:
    """Puts every component into the draft; a DeployMessage for each, and for package.xml. Nothing of the org changes."""
    messages = [message("", "package.xml", "package.xml", now=now)]
    for kind, name in sorted(
        package.destructive, key=lambda item: item[0] == "CustomObject"
    ):  # fields before their objects
        odd = remove(draft, kind, name)
        about: dict[str, Any] = (
            {"problem": odd.text, "problemType": "Warning" if odd.is_warning else "Error"} if odd else {}
        )
        success = odd is None or odd.is_warning
        messages.append(
            message(kind, name, "destructiveChanges.xml", now=now, success=success, deleted=odd is None, **about)
        )
    for component in sorted(package.components, key=order_of):
        if not package.lists(component) and component.problem is None:
            continue  # a file that package.xml does not name is not deployed
        messages.append(_applied(draft, component, org, now))
    for kind in sorted({kind for kind, _ in package.named} | package.wildcards):
        if kind not in KNOWN_NAMES:
            text = {"problem": f"Unknown type name '{kind}' specified in package.xml", "problemType": "Error"}
            messages.append(message("", "package.xml", "package.xml", now=now, success=False, **text))
    present = {(component.type, component.full_name) for component in package.components}
    for kind, name in sorted(package.named - present):
        if kind not in KNOWN_NAMES or (kind, name) in draft.known or draft.schema.find(name) is not None:
            continue
        problem = f"An object '{name}' of type {kind} was named in package.xml, but was not found in zipped directory"
        messages.append(
            message(kind, name, "package.xml", now=now, success=False, problem=problem, problemType="Error")
        )
    return messages


def _applied(draft: Draft, component: Component, org: Org, now: str) -> dict[str, Any]:
    try:
        is_new = apply(draft, component)
    except ComponentError as error:
        place = component.problem
        return message(
            component.type, component.full_name, component.file_name, now=now, success=False, problem=str(error), problemType="Error",
            lineNumber=place.line if place else None, columnNumber=place.column if place else None,
        )  # fmt: skip
    before = org.components.get((component.type, component.full_name))
    changed = is_new or before is None or before[1] != component.inner
    return message(component.type, component.full_name, component.file_name, now=now, created=is_new, changed=changed)


def message(kind: str, name: str, file_name: str, *, now: str, success: bool = True, **more: Any) -> dict[str, Any]:
    """A DeployMessage, by its names on the wire."""
    return {
        "changed": False, "columnNumber": None, "componentType": kind, "created": False, "createdDate": now, "deleted": False,
        "fileName": file_name, "fullName": name, "id": None, "lineNumber": None, "problem": None, "problemType": None, "success": success,
        "warning": more.get("problemType") == "Warning",
    } | more  # fmt: skip


def install(org: Org, draft: Draft, package: Package) -> None:
    """Makes the draft the org's schema."""
    org.change_schema(draft.schema)
    for kind, name in package.destructive:
        org.components.pop((kind, name), None)
    keep_components(org, package.components)


def keep_components(org: Org, components: Iterable[Component]) -> None:
    """Remembers the components' files, and makes the permission sets records of the org."""
    for component in components:
        if component.root is not None and component.problem is None:
            org.components[component.type, component.full_name] = (
                str(component.root.tag).removeprefix(NAMESPACE),
                component.inner,
            )
        if component.type == "PermissionSet" and component.root is not None:
            _permission_set_record(org, component)


def _permission_set_record(org: Org, component: Component) -> None:
    sobject = org.schema.objects["PermissionSet"]
    assert component.root is not None
    label = next((node.text for node in component.root if str(node.tag).endswith("}label")), component.full_name)
    known = [record_id for _, record_id in org.store.lookup(sobject, "Name", [component.full_name])]
    if not known:
        org.dml.insert(sobject, [{"Name": component.full_name, "Label": label}])


# -- over restarts ----------------------------------------------------------------------------------------------------------------


def _keep(org: Org, deployment: Deployment) -> None:
    folder = org.data / "deployed"
    folder.mkdir(exist_ok=True)
    single = "single" if deployment.options.single_package else "nested"
    (folder / f"{len(list(folder.iterdir())):06d}.{single}.zip").write_bytes(deployment.content)


def restore(org: Org) -> None:
    """Deploys again what was deployed into this org's data before it was started."""
    for path in sorted((org.data / "deployed").glob("*.zip")):
        package, draft = read_package(path.read_bytes(), single=".single." in path.name), draft_of(org)
        check(draft, package, org, timestamp(org.clock.now()))
        install(org, draft, package)
