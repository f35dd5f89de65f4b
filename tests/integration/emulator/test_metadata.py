"""Deployments by the emulator: a package really changes the org, and a broken one fails as an org reports it."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from typing import Any
from xml.etree import ElementTree

import pytest

from emulators.salesforce.schema import load_schema
from support.packages import package, sfdx_package
from support.raw import Raw, eventually
from support.world import World

URI = "http://soap.sforce.com/2006/04/metadata"
META = f"{{{URI}}}"
TIER = (
    "<label>Tier</label><fullName>Tier__c</fullName><type>Picklist</type><valueSet><restricted>true</restricted><valueSetDefinition>"
    "<sorted>false</sorted><value><fullName>Gold</fullName><default>false</default></value></valueSetDefinition></valueSet>"
)
OBJECT = (
    "<label>Visit</label><pluralLabel>Visits</pluralLabel><nameField><label>Visit Name</label><type>Text</type></nameField>"
    "<deploymentStatus>Deployed</deploymentStatus><sharingModel>ReadWrite</sharingModel>"
)


def _soap(raw: Raw, body: str) -> ElementTree.Element:
    session = raw.headers["authorization"].removeprefix("Bearer ")
    envelope = (
        f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns="{URI}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<s:Header><SessionHeader><sessionId>{session}</sessionId></SessionHeader></s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )
    return ElementTree.fromstring(raw("POST", f"{raw.url}/services/Soap/m/59.0", envelope.encode(), SOAPAction="x")[1])


def _deploy(raw: Raw, content: bytes, **options: bool) -> dict[str, Any]:
    """Deploys over REST; gives the finished DeployResult."""
    boundary = "----x"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="json"\r\nContent-Type: application/json\r\n\r\n'
    middle = f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="p.zip"\r\nContent-Type: application/zip\r\n\r\n'
    body = (
        head.encode()
        + json.dumps({"deployOptions": options}).encode()
        + middle.encode()
        + content
        + f"\r\n--{boundary}--\r\n".encode()
    )
    status, answer = raw(
        "POST", "/metadata/deployRequest", body, **{"content-type": f"multipart/form-data; boundary={boundary}"}
    )
    assert status == 201

    def finished() -> dict[str, Any] | None:
        result = raw("GET", f"/metadata/deployRequest/{answer['id']}?includeDetails=true")[1]["deployResult"]
        return result if result["done"] else None

    return dict(eventually(finished))


def _problems(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (item["componentType"], item["fullName"], item["problem"]) for item in result["details"]["componentFailures"]
    ]


def test_a_deployed_field_and_object_take_records(raw: Raw) -> None:
    files = {"objects/Account.object": f"<fields>{TIER}</fields>", "objects/Visit__c.object": OBJECT}
    result = _deploy(raw, package(files))
    assert (result["status"], result["success"], result["numberComponentErrors"]) == ("Succeeded", True, 0)
    assert raw("POST", "/sobjects/Account", {"Name": "Acme", "Tier__c": "Gold"})[0] == 201
    assert (
        raw("POST", "/sobjects/Account", {"Name": "Acme", "Tier__c": "Tin"})[1][0]["errorCode"]
        == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    )
    assert raw("POST", "/sobjects/Visit__c", {"Name": "First"})[0] == 201
    described = {item["name"]: item for item in raw("GET", "/sobjects/Account/describe")[1]["fields"]}
    assert [value["value"] for value in described["Tier__c"]["picklistValues"]] == ["Gold"]


def test_a_check_only_deployment_changes_nothing(raw: Raw) -> None:
    result = _deploy(raw, package({"objects/Account.object": f"<fields>{TIER}</fields>"}), checkOnly=True)
    assert (result["status"], result["checkOnly"]) == ("Succeeded", True)
    assert raw("POST", "/sobjects/Account", {"Name": "Acme", "Tier__c": "Gold"})[1][0]["errorCode"] == "INVALID_FIELD"


def _field(*elements: str) -> dict[str, str]:
    return {"objects/Account.object": f"<fields><fullName>X__c</fullName><label>X</label>{''.join(elements)}</fields>"}


GRANT = "<label>P</label><fieldPermissions><editable>true</editable><field>Account.No__c</field></fieldPermissions>"
TAB = {"tabs/No__c.tab": "<customObject>true</customObject>"}


@pytest.mark.parametrize(
    ("files", "name", "problem"),
    [
        (_field("<type>Text</type>"), "Account.X__c", "Must specify 'length' for a CustomField of type Text"),
        (_field("<type>Nonsense</type>"), "Account.X__c", "'Nonsense' is not a valid value for the enum 'FieldType'"),
        (
            _field("<type>Lookup</type><referenceTo>No__c</referenceTo>"),
            "Account.X__c",
            "referenceTo value of 'No__c' does not resolve to a valid sObject type",
        ),
        ({"permissionsets/P.permissionset": GRANT}, "P", "In field: field - no CustomField named Account.No__c found"),
        (
            {"objects/Visit__c.object": "<label>Visit</label>"},
            "Visit__c",
            "Must specify a non-empty pluralLabel for the CustomObject",
        ),
        (TAB, "No__c", "In field: customObject - no CustomObject named No__c found"),
    ],
)
def test_a_broken_component_fails_the_whole_package(raw: Raw, files: dict[str, str], name: str, problem: str) -> None:
    good = {"objects/Contact.object": f"<fields>{TIER}</fields>"}
    result = _deploy(raw, package(good | files))
    assert (result["status"], result["success"], result["numberComponentErrors"]) == ("Failed", False, 1)
    assert [(full_name, text) for _, full_name, text in _problems(result)] == [(name, problem)]
    assert "Tier__c" not in [item["name"] for item in raw("GET", "/sobjects/Contact/describe")[1]["fields"]]


def test_xml_that_cannot_be_read_is_reported_with_its_line(raw: Raw) -> None:
    result = _deploy(raw, package({"layouts/Account-X.layout": "<oops>"}))
    failure = result["details"]["componentFailures"][0]
    assert (failure["fileName"], failure["lineNumber"], failure["problemType"]) == (
        "layouts/Account-X.layout",
        2,
        "Error",
    )


def test_without_roll_back_the_good_components_stay(raw: Raw) -> None:
    files = {"objects/Account.object": f"<fields>{TIER}</fields>", **TAB}
    result = _deploy(raw, package(files), rollbackOnError=False)
    assert (result["status"], result["success"]) == ("SucceededPartial", True)
    assert raw("POST", "/sobjects/Account", {"Name": "Acme", "Tier__c": "Gold"})[0] == 201


def test_what_package_xml_names_and_the_zip_lacks_is_an_error(raw: Raw) -> None:
    buffer = io.BytesIO(package({"objects/Account.object": f"<fields>{TIER}</fields>"}))
    with zipfile.ZipFile(buffer) as archive:
        manifest = (
            archive.read("package.xml")
            .decode()
            .replace("<members>Account</members>", "<members>Account</members><members>Gone__c</members>")
        )
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("package.xml", manifest)
    assert _problems(_deploy(raw, other.getvalue())) == [
        (
            "CustomObject",
            "Gone__c",
            "An object 'Gone__c' of type CustomObject was named in package.xml, but was not found in zipped directory",
        )
    ]


def test_destructive_changes_take_fields_away(raw: Raw) -> None:
    _deploy(raw, package({"objects/Account.object": f"<fields>{TIER}</fields>"}))
    result = _deploy(raw, package({}, destructive={"CustomField": ["Account.Tier__c", "Account.Never__c"]}))
    assert result["status"] == "Succeeded"
    warnings = [item["problem"] for item in result["details"]["componentSuccesses"] if item["problemType"] == "Warning"]
    assert warnings == ["No CustomField named: Account.Never__c found"]
    assert raw("POST", "/sobjects/Account", {"Name": "Acme", "Tier__c": "Gold"})[1][0]["errorCode"] == "INVALID_FIELD"


def test_a_zip_that_is_none_fails_with_the_reason(raw: Raw) -> None:
    result = _deploy(raw, b"no zip at all")
    assert (result["status"], result["errorStatusCode"]) == ("Failed", "INVALID_ZIP")


def test_the_shipped_project_deploys_into_a_bare_org_and_gives_the_schema_that_it_describes(
    raw: Raw, world: World
) -> None:
    assert raw("POST", f"{raw.url}/_emulator/reset", {"seed": "empty", "bare": True})[0] == 200
    assert world.org.schema.find("PeerSpot_Activity__c") is None
    for folder in ("force-app", "reports-app", "customer-app"):
        result = _deploy(raw, sfdx_package(folder))
        assert (_problems(result), result["status"]) == ([], "Succeeded")
    expected = load_schema()
    for name, sobject in expected.objects.items():
        assert set(world.org.schema.objects[name].fields) == set(sobject.fields), name
    names = raw.query("SELECT Name FROM PermissionSet ORDER BY Name")[1]["records"]
    assert [record["Name"] for record in names] == [
        "Deployteq_Sync", "PeerSpot", "PeerSpot_Sync", "Preact_Customer_Data", "Preact_Sync", "SPOTIO_Sync", "WOW_Sync",
    ]  # fmt: skip


# -- SOAP -------------------------------------------------------------------------------------------------------------------------


def test_a_package_is_deployed_and_watched_by_soap(raw: Raw) -> None:
    content = base64.b64encode(package({"objects/Account.object": f"<fields>{TIER}</fields>"})).decode()
    options = "<DeployOptions><checkOnly>false</checkOnly><rollbackOnError>true</rollbackOnError></DeployOptions>"
    deployment = _soap(raw, f"<deploy><ZipFile>{content}</ZipFile>{options}</deploy>").findtext(f".//{META}id")

    def finished() -> ElementTree.Element | None:
        order = f"<checkDeployStatus><asyncProcessId>{deployment}</asyncProcessId><includeDetails>true</includeDetails></checkDeployStatus>"
        root = _soap(raw, order)
        return root if root.findtext(f".//{META}done") == "true" else None

    root = eventually(finished)
    assert root.findtext(f".//{META}status") == "Succeeded"
    assert {node.findtext(f"{META}fullName") for node in root.iter(f"{META}componentSuccesses")} == {
        "package.xml",
        "Account",
        "Account.Tier__c",
    }


def test_components_are_created_read_listed_and_deleted_one_by_one(raw: Raw) -> None:
    field = '<metadata xsi:type="CustomField"><fullName>Account.Code__c</fullName><label>Code</label><length>9</length><type>Text</type></metadata>'
    assert _soap(raw, f"<createMetadata>{field}</createMetadata>").findtext(f".//{META}success") == "true"
    again = _soap(raw, f"<createMetadata>{field}</createMetadata>")
    assert again.findtext(f".//{META}statusCode") == "DUPLICATE_DEVELOPER_NAME"
    read = _soap(raw, "<readMetadata><type>CustomField</type><fullNames>Account.Code__c</fullNames></readMetadata>")
    assert (read.findtext(f".//{META}fullName"), read.findtext(f".//{META}length")) == ("Account.Code__c", "9")
    listed = _soap(
        raw, "<listMetadata><queries><type>CustomField</type></queries><asOfVersion>59.0</asOfVersion></listMetadata>"
    )
    assert "Account.Code__c" in {node.text for node in listed.iter(f"{META}fullName")}
    assert (
        _soap(
            raw, "<deleteMetadata><type>CustomField</type><fullNames>Account.Code__c</fullNames></deleteMetadata>"
        ).findtext(f".//{META}success")
        == "true"
    )
    assert raw("POST", "/sobjects/Account", {"Name": "x", "Code__c": "1"})[1][0]["errorCode"] == "INVALID_FIELD"


def test_what_was_deployed_can_be_retrieved_and_deployed_again(raw: Raw) -> None:
    tab = {"tabs/Visit__c.tab": "<customObject>true</customObject>"}
    _deploy(raw, package({"objects/Visit__c.object": f"{OBJECT}<fields>{TIER}</fields>"} | tab))
    types = "".join(
        f"<types><members>Visit__c</members><name>{kind}</name></types>" for kind in ("CustomObject", "CustomTab")
    )
    wanted = f"<apiVersion>59.0</apiVersion><unpackaged>{types}<version>59.0</version></unpackaged>"
    order = f"<retrieve><retrieveRequest>{wanted}</retrieveRequest></retrieve>"
    retrieval = _soap(raw, order).findtext(f".//{META}id")
    root = _soap(
        raw,
        f"<checkRetrieveStatus><asyncProcessId>{retrieval}</asyncProcessId><includeZip>true</includeZip></checkRetrieveStatus>",
    )
    content = base64.b64decode(root.findtext(f".//{META}zipFile") or "")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert "<sharingModel>ReadWrite</sharingModel>" in archive.read("unpackaged/objects/Visit__c.object").decode()
        assert sorted(archive.namelist()) == [
            "unpackaged/objects/Visit__c.object",
            "unpackaged/package.xml",
            "unpackaged/tabs/Visit__c.tab",
        ]
    raw("POST", f"{raw.url}/_emulator/reset", {"seed": "empty"})
    assert _problems(_deploy(raw, content, singlePackage=False)) == []
    assert raw("POST", "/sobjects/Visit__c", {"Name": "First", "Tier__c": "Gold"})[0] == 201


def test_a_validated_deployment_is_deployed_quickly(raw: Raw) -> None:
    checked = _deploy(raw, package({"objects/Account.object": f"<fields>{TIER}</fields>"}), checkOnly=True)
    status, answer = raw("POST", "/metadata/deployRequest", {"validatedDeployRequestId": checked["id"]})
    assert status == 201
    eventually(lambda: raw("GET", f"/metadata/deployRequest/{answer['id']}")[1]["deployResult"]["done"])
    assert raw("POST", "/sobjects/Account", {"Name": "Acme", "Tier__c": "Gold"})[0] == 201
    assert raw("POST", "/metadata/deployRequest", {"validatedDeployRequestId": answer["id"]})[0] == 404


def test_an_object_that_others_refer_to_is_not_deleted(raw: Raw) -> None:
    result = _deploy(raw, package({}, destructive={"CustomObject": ["PeerSpot_Activity__c"]}))
    assert result["status"] == "Failed"
    assert "it is referenced by PeerSpot_Activity_Product__c.Activity__c" in _problems(result)[0][2]


def test_what_a_deleted_field_held_does_not_come_back_with_it(raw: Raw) -> None:
    field = package({"objects/Account.object": f"<fields>{TIER}</fields>"})
    _deploy(raw, field)
    account = raw("POST", "/sobjects/Account", {"Name": "Acme", "Tier__c": "Gold"})[1]["id"]
    _deploy(raw, package({}, destructive={"CustomField": ["Account.Tier__c"]}))
    _deploy(raw, field)
    assert raw("GET", f"/sobjects/Account/{account}?fields=Tier__c")[1]["Tier__c"] is None


def test_metadata_types_are_described_and_unknown_operations_are_faults(raw: Raw) -> None:
    described = _soap(raw, "<describeMetadata><asOfVersion>59.0</asOfVersion></describeMetadata>")
    assert "CustomObject" in {node.text for node in described.iter(f"{META}xmlName")}
    assert _soap(raw, "<nonsense/>").findtext(".//faultcode") == "sf:INVALID_OPERATION"
