"""Lead conversion, which an org offers in its pages, in Apex and by SOAP, but not by REST."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from emulators.salesforce.errors import ApiError
from emulators.salesforce.ids import looks_like_id, to_18
from emulators.salesforce.org import Org
from emulators.salesforce.store import timestamp

CONVERTED_STATUS = "Closed - Converted"
CLOSES_AFTER = timedelta(days=90)
_PERSON_FIELDS = ("FirstName", "LastName", "Salutation", "Email", "Phone", "MobilePhone", "Title", "LeadSource")


@dataclass(frozen=True)
class Conversion:
    """What to make of a Lead: into which Account and Contact it goes (new ones where they are None), and with which Opportunity."""

    lead_id: str
    account_id: str | None = None
    contact_id: str | None = None
    with_opportunity: bool = True
    opportunity_name: str | None = None
    status: str = CONVERTED_STATUS


def convert_lead(org: Org, order: Conversion) -> dict[str, str | None]:
    """Converts the Lead and gives the ids, with the keys of SOAP's LeadConvertResult."""
    lead_object = org.schema.objects["Lead"]
    if not looks_like_id(order.lead_id) or order.lead_id[:3] != lead_object.prefix:
        raise ApiError("MALFORMED_ID", f"malformed id {order.lead_id}")
    lead_id = to_18(order.lead_id)
    with org.store.writing() as connection:
        found = next(iter(org.store.lookup(lead_object, "Id", [lead_id], ["IsConverted"])), None)
        if found is None:
            raise ApiError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if found[2]:
            raise ApiError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        lead = org.dml.stored_row(lead_object, lead_id)
        account_id = order.account_id or _create(
            org, "Account", {"Name": lead["Company"], "Phone": lead["Phone"], "Website": lead["Website"]}
        )
        person = {name: lead[name] for name in _PERSON_FIELDS}
        contact_id = order.contact_id or _create(org, "Contact", {**person, "AccountId": account_id})
        opportunity_id = None
        if order.with_opportunity:
            closing = (org.clock.now() + CLOSES_AFTER).date().isoformat()
            deal = {
                "Name": order.opportunity_name or lead["Company"],
                "AccountId": account_id,
                "StageName": "Prospecting",
                "CloseDate": closing,
            }
            opportunity_id = _create(org, "Opportunity", deal)
        now = timestamp(org.clock.now())
        values = {
            "IsConverted": 1, "Status": order.status, "ConvertedDate": now[:10], "ConvertedAccountId": account_id,
            "ConvertedContactId": contact_id, "ConvertedOpportunityId": opportunity_id, "SystemModstamp": now, "LastModifiedDate": now,
        }  # fmt: skip
        connection.execute(
            f'UPDATE "Lead" SET {", ".join(f"{name} = ?" for name in values)} WHERE Id = ?', [*values.values(), lead_id]
        )
    return {"accountId": account_id, "contactId": contact_id, "leadId": lead_id, "opportunityId": opportunity_id}


def _create(org: Org, name: str, values: dict[str, Any]) -> str:
    result = org.dml.insert(org.schema.objects[name], [values])[0]
    if result.error:
        raise result.error
    return str(result.id)
