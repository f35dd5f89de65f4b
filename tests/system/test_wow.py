"""The DAG of company leads as a whole, in Airflow, against the emulators."""

from __future__ import annotations

import json
from html import unescape
from typing import Any

import pytest

from salesforce_sync import decisions
from salesforce_sync.state import orgs
from salesforce_sync.state.engine import open_state, reading
from support.dags import DagRunner
from support.mail import MailSink
from support.world import World

pytestmark = [pytest.mark.airflow, pytest.mark.system]
DAG = "wow_company_leads"


def _lead(number: int, name: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"w-{number}",
        "companyName": name,
        "company": {"name": name, "city": "Utrecht"},
        "contact": None,
    } | changes


def _decide(action: str) -> str:
    with reading(open_state()) as connection:
        org = orgs.latest(connection)
        assert org is not None
        leads = decisions.company_leads.find(connection, org, ["w-1"])
    with open_state().begin() as connection:
        return decisions.decide(connection, org, leads["w-1"], action, None, person="somebody")


@pytest.mark.requirement("WW-04", "WW-10", "WW-A4")
def test_company_leads_are_read_decided_about_created_explained_and_undone(dags: DagRunner, world: World) -> None:
    world.wow.visit(_lead(1, "Zorbin Logistics"), _lead(2, "We Supply You", type="Supplier"))
    done = dags.run(DAG)
    assert (done.state, done.results["extract"], done.results["match"]) == ("success", 1, {"checked_no_action": 1})
    assert _decide("create") == "create"
    assert dags.run(DAG, dry_run=True).results["load"]["created"] == 1
    assert world.count("Lead") == 0
    done = dags.run(DAG)
    assert done.results["load"]["created"] == 1
    assert dags.run(DAG).results["load"]["created"] == 0
    link = "https://app.wowanalytics.co.uk/Permalink/Company/w-1"
    from salesforce_sync.explain import explain

    with reading(open_state()) as connection:
        assert any("was created, in wow_company_leads" in line for line in explain(connection, link))
    undone = dags.run("sync_control", action="undo", dag=DAG, run=done.run_id, delete_created=True).results["control"]
    assert undone["wow/leads"]["deleted"] == 1
    dags.set_variable("wow_mode", "auto")
    for _ in range(2):
        assert dags.run(DAG).results["load"]["created"] == 0  # no rule answers what a person took back
    assert world.count("Lead") == 0
    assert _decide("create") == "create"
    assert dags.run(DAG).results["load"]["created"] == 1


@pytest.mark.requirement("WW-A2")
def test_in_auto_mode_a_company_that_nobody_has_becomes_a_lead_by_itself(dags: DagRunner, world: World) -> None:
    dags.set_variable("wow_mode", "auto")
    world.wow.visit(_lead(1, "Zorbin Logistics"))
    assert dags.run(DAG).results["load"]["created"] == 1
    assert world.query("SELECT LeadSource FROM Lead") == [{"LeadSource": "Wow Analytics"}]


@pytest.mark.requirement("WW-11", "WW-A5")
def test_an_org_that_lacks_the_lead_source_is_named_first(dags: DagRunner, world: World) -> None:
    from dataclasses import replace

    from emulators.salesforce.schema import Schema

    objects = world.org.schema.objects
    source = replace(objects["Lead"].fields["LeadSource"], values=("Web", "Other"), restricted=True)
    fields = {**objects["Lead"].fields, "LeadSource": source}
    world.org.change_schema(Schema({**objects, "Lead": replace(objects["Lead"], fields=fields)}))
    done = dags.run(DAG)
    assert (done.tasks["check_salesforce"], done.tasks["match"]) == ("failed", "upstream_failed")


@pytest.mark.requirement("WW-13", "WW-14")
def test_a_password_that_was_changed_is_explained_and_never_shown(
    dags: DagRunner, world: World, mail: MailSink
) -> None:
    dags.set_variable(
        "wow_credentials", json.dumps(world.wow.credentials(world.vendors_url) | {"api_key": "fake-old-key"})
    )
    assert dags.run(DAG).tasks["check_wow"] == "failed"
    text = "\n".join(mail.texts)
    assert "wow refused the credentials (401)" in text
    assert "fake-old-key" not in text


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("wow_mode", "both", "review or auto"),
        ("wow_threshold", "2", "a number from 0 to 1"),
        ("wow_precision", "x", "a number from 0 to 1"),
    ],
)
def test_a_setting_that_is_wrong_is_named(dags: DagRunner, mail: MailSink, name: str, value: str, rule: str) -> None:
    dags.set_variable(name, value)
    assert dags.run(DAG).tasks["check_salesforce"] == "failed"
    assert f"The Variable {name} is '{value}'; it must be {rule}" in unescape("\n".join(mail.texts))
