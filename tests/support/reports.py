"""The shipped reports, asked of the emulator: a report's filter as SOQL over the object that its report type is built on."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

REPORTS_APP = Path(__file__).parents[2] / "include" / "salesforce" / "reports-app" / "main" / "default"
SOAP = "{http://soap.sforce.com/2006/04/metadata}"
TIES = "PeerSpot_Activity__c.Products__r"
OPERATORS = {"equals": "=", "notEqual": "!=", "lessThan": "<", "greaterOrEqual": ">="}


def report_files() -> dict[str, ElementTree.Element]:
    """The reports by their label."""
    roots = (
        ElementTree.parse(path).getroot()
        for path in sorted(REPORTS_APP.glob("reports/PeerSpot_Activities/*.report-meta.xml"))
    )
    return {str(root.findtext(f"{SOAP}name")): root for root in roots}


def columns(report: ElementTree.Element) -> list[str]:
    """Every column that the report names: shown, filtered or grouped by."""
    tags = (
        "columns/{0}field",
        "groupingsDown/{0}field",
        "filter/{0}criteriaItems/{0}column",
        "timeFrameFilter/{0}dateColumn",
    )
    return [str(node.text) for tag in tags for node in report.iterfind(f"{SOAP}{tag.format(SOAP)}")]


def soql(report: ElementTree.Element) -> str:
    """The names of the records that the report shows: companies, or activities."""
    over_ties = any(column.startswith(f"{TIES}$") for column in columns(report) if column in _filtered(report))
    base = "PeerSpot_Company__c" if columns(report)[0].startswith("PeerSpot_Company__c$") else "PeerSpot_Activity__c"
    name = "Name" if base == "PeerSpot_Company__c" else "PeerSpot_External_Id__c"
    conditions = [_condition(item, over_ties) for item in report.iterfind(f"{SOAP}filter/{SOAP}criteriaItems")]
    logic = report.findtext(f"{SOAP}filter/{SOAP}booleanFilter") or " AND ".join(
        str(place + 1) for place in range(len(conditions))
    )
    where = re.sub(r"\d+", lambda found: conditions[int(found[0]) - 1], logic)
    if over_ties:
        return f"SELECT Activity__r.{name} FROM PeerSpot_Activity_Product__c WHERE {where}"
    return f"SELECT {name} FROM {base} WHERE {where}"


def _filtered(report: ElementTree.Element) -> set[str]:
    return {str(node.text) for node in report.iterfind(f"{SOAP}filter/{SOAP}criteriaItems/{SOAP}column")}


def _condition(item: ElementTree.Element, over_ties: bool) -> str:
    column, operator, value = (item.findtext(f"{SOAP}{tag}") or "" for tag in ("column", "operator", "value"))
    table, _, path = column.partition("$")
    path = path.replace("__c.", "__r.")
    if over_ties and table != TIES:
        path = f"Activity__r.{path}"
    if operator == "notContain":
        return f"({path} = null OR (NOT {path} LIKE '%{value}%'))"  # a report's 'does not contain' is true of blanks
    if value.startswith("LAST_N_DAYS"):
        literal = value
    elif value in ("0", "1"):
        literal = "true" if value == "1" else "false"
    else:
        literal = f"'{value}'" if value else "null"
    return f"{path} {OPERATORS[operator]} {literal}"
