"""The contact moments' DAG as a whole, in Airflow, against the emulators."""

from __future__ import annotations

import pytest

from support.dags import DagRunner
from support.world import World

pytestmark = [pytest.mark.airflow, pytest.mark.system]
DAG = "deployteq_contact_moments"


@pytest.mark.requirement("DQ-03")
def test_e_mails_to_polled_leads_arrive_and_are_not_read_twice(
    dags: DagRunner, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salesforce_sync.systems.deployteq import hook as deployteq

    monkeypatch.setattr(deployteq, "pause", lambda _: None)
    (lead,) = world.insert("Lead", {"LastName": "L", "Company": "Acme", "Email": "l@acme.example"})
    dags.run("deployteq_contact_poll")
    world.deployteq.send("November")
    finished = dags.run(DAG)
    assert finished.state == "success"
    assert finished.results["extract"] == {"deployteq/lead_moments": 1, "deployteq/contact_moments": 0}
    assert finished.results["load_leads"]["created"] == 1
    assert world.query("SELECT Lead__c, Status__c FROM ClangLeadContactMoment__c") == [
        {"Lead__c": lead, "Status__c": "Sent"}
    ]
    assert dags.run(DAG).results["extract"] == {"deployteq/lead_moments": 0, "deployteq/contact_moments": 0}
