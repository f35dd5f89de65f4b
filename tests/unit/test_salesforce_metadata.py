"""The SFDX project: what a real org gets when it is deployed."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from salesforce_sync.mapping.loader import SHIPPED, read_mapping
from salesforce_sync.steps.process import DOMAIN_NOT_FOUND

MAIN = Path(__file__).parents[2] / "include" / "salesforce" / "force-app" / "main" / "default"
NAMESPACE = {"sf": "http://soap.sforce.com/2006/04/metadata"}
ACTIVITY = "PeerSpot_Activity__c"


def _root(path: str) -> ElementTree.Element:
    return ElementTree.parse(MAIN / path).getroot()


def _texts(root: ElementTree.Element, tag: str) -> list[str]:
    return [node.text or "" for node in root.iterfind(f".//sf:{tag}", NAMESPACE)]


def _field(name: str, object_name: str = ACTIVITY) -> ElementTree.Element:
    return _root(f"objects/{object_name}/fields/{name}.field-meta.xml")


def test_every_file_is_well_formed_and_says_what_it_is() -> None:
    files = list(MAIN.rglob("*-meta.xml"))
    assert len(files) > 30
    for path in files:
        assert ElementTree.parse(path).getroot().tag.startswith("{http://soap.sforce.com/2006/04/metadata}")


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("peerspot/*.yaml")), ids=lambda path: path.stem)
def test_every_mapped_field_is_in_the_metadata_and_in_the_permission_set(path: Path) -> None:
    mapping = read_mapping(path)
    granted = _texts(_root("permissionsets/PeerSpot_Sync.permissionset-meta.xml"), "field")
    for name in (mapping.salesforce.external_id, *mapping.fields):
        own = name.split(".")[0].replace("__r", "__c")
        if not own.endswith("__c"):
            continue  # a standard field
        folder = "Activity" if mapping.salesforce.object == "Task" else mapping.salesforce.object
        assert _texts(_field(own, folder), "fullName") == [own]
        required = _texts(_field(own, folder), "required") == ["true"]
        is_master = "MasterDetail" in _texts(_field(own, folder), "type")
        assert required or is_master or f"{mapping.salesforce.object}.{own}" in granted


@pytest.mark.requirement("PS-31")
def test_the_account_gets_a_related_list_of_activities() -> None:
    look_up = _field("Account__c")
    assert _texts(look_up, "relationshipLabel") == ["PeerSpot Activities"]
    assert _texts(look_up, "referenceTo") == ["Account"]
    name_field = _root(f"objects/{ACTIVITY}/{ACTIVITY}.object-meta.xml").find("sf:nameField", NAMESPACE)
    assert name_field is not None
    assert _texts(name_field, "displayFormat") == ["PR-{0000}"]
    assert _texts(name_field, "label") == ["PeerSpot Activities Name"]
    assert _texts(_field("Pages_Visited__c"), "label") == ["Amount of pages visited"]


@pytest.mark.requirement("PS-30")
def test_a_vendor_product_has_a_required_name_and_a_unique_product_id() -> None:
    product = "PeerSpot_Vendor_Product__c"
    assert "PeerSpot Product Name" in _texts(_root(f"objects/{product}/{product}.object-meta.xml"), "label")
    identity = _field("PeerSpot_Product_Id__c", product)
    assert (_texts(identity, "unique"), _texts(identity, "externalId")) == (["true"], ["true"])
    assert _texts(_field("My_Company_Product__c", product), "type") == ["Checkbox"]


@pytest.mark.requirement("PS-33")
def test_there_are_tabs_and_an_app() -> None:
    assert (MAIN / f"tabs/{ACTIVITY}.tab-meta.xml").exists()
    assert (MAIN / "tabs/PeerSpot_Vendor_Product__c.tab-meta.xml").exists()
    assert {ACTIVITY, "PeerSpot_Vendor_Product__c"} <= set(_texts(_root("applications/PeerSpot.app-meta.xml"), "tabs"))


@pytest.mark.requirement("PS-34")
def test_an_account_can_be_created_from_an_activity_with_its_website_filled_in() -> None:
    action = _root(f"quickActions/{ACTIVITY}.Create_Account.quickAction-meta.xml")
    assert _texts(action, "targetObject") == ["Account"]
    overrides = {_texts(node, "field")[0]: _texts(node, "formula")[0] for node in action.iterfind("sf:fieldOverrides", NAMESPACE)}
    assert overrides == {"Website": f"{ACTIVITY}.Domain__c", "Name": f"{ACTIVITY}.Company_Name__c"}
    layout = _root(f"layouts/{ACTIVITY}-PeerSpot Activity Layout.layout-meta.xml")
    assert f"{ACTIVITY}.Create_Account" in _texts(layout, "actionName")
    assert _texts(layout, "customButtons") == ["Create_Account"]
    assert "URLENCODE" in _texts(_root(f"objects/{ACTIVITY}/webLinks/Create_Account.webLink-meta.xml"), "url")[0]


@pytest.mark.requirement("PS-35")
def test_the_error_is_a_picklist_value_with_exactly_that_label() -> None:
    assert _texts(_field("Error__c"), "fullName") == ["Error__c", DOMAIN_NOT_FOUND]
    assert DOMAIN_NOT_FOUND == "PS Activities Error: Domain not Found"


@pytest.mark.requirement("PS-36")
def test_permission_sets_and_a_deployed_report_type_are_shipped() -> None:
    people = _root("permissionsets/PeerSpot.permissionset-meta.xml")
    assert _texts(people, "application") == ["PeerSpot"]
    assert ACTIVITY in _texts(people, "object")
    report_type = _root("reportTypes/PeerSpot_Activities_on_website.reportType-meta.xml")
    assert (report_type.findtext("sf:label", namespaces=NAMESPACE), _texts(report_type, "deployed")) == ("PeerSpot Activities on website", ["true"])


def test_the_integration_user_may_write_no_more_of_the_standard_objects_than_it_must() -> None:
    grants = _root("permissionsets/PeerSpot_Sync.permissionset-meta.xml")
    objects = {_texts(node, "object")[0]: _texts(node, "allowEdit")[0] for node in grants.iterfind("sf:objectPermissions", NAMESPACE)}
    assert objects == {
        "Account": "false", "Lead": "false", "Campaign": "true", "Opportunity": "true",
        ACTIVITY: "true", "PeerSpot_Activity_Product__c": "true", "PeerSpot_Vendor_Product__c": "true",
    }  # fmt: skip
