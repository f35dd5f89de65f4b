"""The SFDX project: what a real org gets when it is deployed."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from salesforce_sync.mapping.loader import SHIPPED, read_mapping
from salesforce_sync.systems.peerspot.process import DOMAIN_NOT_FOUND
from support.reports import REPORTS_APP, columns, report_files

PROJECT = Path(__file__).parents[2] / "include" / "salesforce"
MAIN = PROJECT / "force-app" / "main" / "default"
NAMESPACE = {"sf": "http://soap.sforce.com/2006/04/metadata"}
ACTIVITY = "PeerSpot_Activity__c"


def _root(path: str) -> ElementTree.Element:
    return ElementTree.parse(MAIN / path).getroot()


def _texts(root: ElementTree.Element, tag: str) -> list[str]:
    return [node.text or "" for node in root.iterfind(f".//sf:{tag}", NAMESPACE)]


def _field(name: str, object_name: str = ACTIVITY) -> ElementTree.Element:
    return _root(f"objects/{object_name}/fields/{name}.field-meta.xml")


def test_every_file_is_well_formed_and_says_what_it_is() -> None:
    files = list(PROJECT.rglob("*-meta.xml"))
    assert len(files) > 50
    for path in files:
        assert ElementTree.parse(path).getroot().tag.startswith("{http://soap.sforce.com/2006/04/metadata}")


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(SHIPPED.glob("*/*.yaml")) if read_mapping(path).direction == "to_salesforce"],
    ids=lambda path: path.stem,
)
def test_every_mapped_field_is_in_the_metadata_and_in_the_permission_set(path: Path) -> None:
    mapping = read_mapping(path)
    (permission_set,) = [
        found.name
        for found in (MAIN / "permissionsets").iterdir()
        if found.name.lower().startswith(f"{path.parent.name}_sync.")
    ]
    granted = _texts(_root(f"permissionsets/{permission_set}"), "field")
    for name in (mapping.key, *mapping.fields):
        own = name.split(".")[0].replace("__r", "__c")
        if not own.endswith("__c"):
            continue  # a standard field
        folder = "Activity" if mapping.salesforce.object == "Task" else mapping.salesforce.object
        assert _texts(_field(own, folder), "fullName")[0] == own
        required = _texts(_field(own, folder), "required") == ["true"]
        is_master = "MasterDetail" in _texts(_field(own, folder), "type")
        assert required or is_master or f"{mapping.salesforce.object}.{own}" in granted


@pytest.mark.parametrize("name", ["contacts", "leads"])
def test_every_field_that_goes_to_deployteq_may_be_read_by_the_integration_user(name: str) -> None:
    mapping = read_mapping(SHIPPED / "deployteq" / f"{name}.yaml")
    granted = _texts(_root("permissionsets/Deployteq_Sync.permissionset-meta.xml"), "field")
    always = {"Id", "LastName", "FirstName", "Company", "Account.Name"}  # names need no grant
    address = {"Street", "City", "State", "PostalCode", "Country"}  # granted together, as the address
    for path in set(mapping.salesforce_paths) - always:
        own = path if "." in path else f"{mapping.salesforce.object}.{path}"
        if path.removeprefix("Mailing") in address:
            own = f"{mapping.salesforce.object}.{'MailingAddress' if path.startswith('Mailing') else 'Address'}"
        assert own in granted
        if path.endswith("__c"):
            assert _texts(_field(path, mapping.salesforce.object), "type") == ["Checkbox"]


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
    assert {ACTIVITY, "PeerSpot_Company__c", "PeerSpot_Vendor_Product__c"} <= set(
        _texts(_root("applications/PeerSpot.app-meta.xml"), "tabs")
    )


@pytest.mark.requirement("PS-34")
def test_an_account_can_be_created_from_an_activity_with_its_website_filled_in() -> None:
    action = _root(f"quickActions/{ACTIVITY}.Create_Account.quickAction-meta.xml")
    assert _texts(action, "targetObject") == ["Account"]
    overrides = {
        _texts(node, "field")[0]: _texts(node, "formula")[0] for node in action.iterfind("sf:fieldOverrides", NAMESPACE)
    }
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
    assert (report_type.findtext("sf:label", namespaces=NAMESPACE), _texts(report_type, "deployed")) == (
        "PeerSpot Activities on website",
        ["true"],
    )


def test_the_integration_user_may_write_no_more_of_the_standard_objects_than_it_must() -> None:
    grants = _root("permissionsets/PeerSpot_Sync.permissionset-meta.xml")
    objects = {
        _texts(node, "object")[0]: _texts(node, "allowEdit")[0]
        for node in grants.iterfind("sf:objectPermissions", NAMESPACE)
    }
    assert objects == {
        "Account": "false", "Lead": "false", "Campaign": "true", "Opportunity": "true",
        ACTIVITY: "true", "PeerSpot_Activity_Product__c": "true", "PeerSpot_Company__c": "true", "PeerSpot_Vendor_Product__c": "true",
    }  # fmt: skip


# -- reports ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("PS-A6", "PS-07")
def test_the_reports_have_the_names_of_the_list() -> None:
    assert set(report_files()) == {
        "PeerSpot - PeerIntent Prospecting Report", "Companies last 14d visited My Product", "Companies last 14d NOT visited MyProduct",
        "Active companies last 14 days by country", "Companies related to open opps", "Companies with > 4 activities last 60d",
        "Account visiting Competitor in last 30d", "PeerSpot Activities (My Products)", "PeerSpot Activities (Competitor_Views)",
        "PS Activities Error: Domain not Found",
    }  # fmt: skip
    assert all(len(label) <= 40 for label in report_files())  # longer ones are refused
    for kind in ("report", "dashboard"):
        folder = ElementTree.parse(REPORTS_APP / f"{kind}s/PeerSpot_Activities.{kind}Folder-meta.xml").getroot()
        assert _texts(folder, "name") == ["PeerSpot Activities"]


@pytest.mark.parametrize("label", sorted(report_files()))
def test_a_report_names_only_columns_of_its_report_type(label: str) -> None:
    report = report_files()[label]
    report_type = _texts(report, "reportType")[0].removesuffix("__c")
    root = ElementTree.parse(next(PROJECT.rglob(f"{report_type}.reportType-meta.xml"))).getroot()
    offered = {
        f"{_texts(node, 'table')[0]}${_texts(node, 'field')[0]}"
        for node in root.iterfind("sf:sections/sf:columns", NAMESPACE)
    }
    assert set(columns(report)) <= offered
    shown = [node.text for node in report.iterfind("sf:columns/sf:field", NAMESPACE)]
    grouped = [node.text for node in report.iterfind("sf:groupingsDown/sf:field", NAMESPACE)]
    assert not set(shown) & set(grouped)  # a column cannot be both


def test_a_report_type_names_only_fields_that_there_are() -> None:
    for path in PROJECT.rglob("*.reportType-meta.xml"):
        root = ElementTree.parse(path).getroot()
        for node in root.iterfind("sf:sections/sf:columns", NAMESPACE):
            table, name = (
                _texts(node, "table")[0].replace(f"{ACTIVITY}.Products__r", "PeerSpot_Activity_Product__c"),
                _texts(node, "field")[0],
            )
            assert name == "Name" or (MAIN / f"objects/{table}/fields/{name.split('.')[0]}.field-meta.xml").exists(), (
                path.name,
                table,
                name,
            )


@pytest.mark.requirement("PS-50")
def test_the_dashboard_charts_prospects_countries_and_our_products_against_competitors() -> None:
    root = ElementTree.parse(
        REPORTS_APP / "dashboards/PeerSpot_Activities/PeerIntent_Prospecting_Dashboard.dashboard-meta.xml"
    ).getroot()
    assert _texts(root, "title") == ["PeerSpot - PeerIntent Prospecting Dashboard"]
    charts = {
        _texts(node, "report")[0].split("/")[1]: _texts(node, "groupingColumn")
        for node in root.iter(f"{{{NAMESPACE['sf']}}}components")
    }
    assert (
        charts["PeerIntent_Prospecting_Report"]
        == charts["Active_companies_14d_by_country"]
        == ["PeerSpot_Company__c$Country__c"]
    )
    assert charts["Activities_My_Products"] == charts["Activities_Competitor_Views"] == [f"{ACTIVITY}$Date_Visited__c"]
    for name, grouping in charts.items():
        report = ElementTree.parse(REPORTS_APP / f"reports/PeerSpot_Activities/{name}.report-meta.xml").getroot()
        assert [node.text for node in report.iterfind("sf:groupingsDown/sf:field", NAMESPACE)] == grouping


@pytest.mark.requirement("PR-04", "PR-11")
def test_preacts_permission_set_gives_its_fields_and_creates_and_deletes_nothing() -> None:
    root = _root("permissionsets/Preact_Sync.permissionset-meta.xml")
    fields = _texts(root, "field")
    assert (len(fields), sum(name.startswith("Contact.") for name in fields)) == (21, 9)
    assert {name.split(".")[1][:7] for name in fields} == {"Preact_"}
    assert {*_texts(root, "allowCreate"), *_texts(root, "allowDelete"), *_texts(root, "modifyAllRecords")} == {"false"}
    assert _texts(_field("Preact_Account_Id__c", "Account"), "externalId") == ["true"]


@pytest.mark.requirement("PR-A1")
def test_the_fields_that_preact_reads_are_a_package_of_their_own_and_read_only() -> None:
    folder = PROJECT / "customer-app" / "main" / "default"
    read = {path.name.split(".")[0] for path in (folder / "objects" / "Account" / "fields").iterdir()}
    mapped = {
        name.split(".")[0].replace("__r", "__c")
        for name in read_mapping(SHIPPED / "preact" / "account_data.yaml").fields
    }
    assert {name for name in mapped if name.endswith("__c")} == read
    root = ElementTree.parse(folder / "permissionsets" / "Preact_Customer_Data.permissionset-meta.xml").getroot()
    assert {*_texts(root, "editable"), *_texts(root, "allowEdit")} == {"false"}
