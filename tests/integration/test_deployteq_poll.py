"""The contact poll's steps: what changed in Salesforce arrives at Deployteq, once, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from salesforce_sync.errors import InvalidMapping, RequestRejected, ServiceUnavailable, TooManyRejects
from salesforce_sync.mapping.transforms import TransformCall
from salesforce_sync.records import Counts, VendorResult
from salesforce_sync.state import dead_letters, sync_log
from support.flows import Poll
from support.world import World

pytestmark = pytest.mark.airflow
CONTACTS, LEADS = "deployteq/contacts", "deployteq/leads"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def _lead(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {"LastName": f"Lead {number}", "Company": "Acme", "Email": f"lead{number}@acme.example"} | changes


def _contact(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {"LastName": f"Contact {number}", "Email": f"contact{number}@acme.example"} | changes


def _unique_by_id(poll: Poll) -> None:
    for name, mapping in poll.mappings.items():
        fields = mapping.fields | {
            "Id": mapping.fields["Id"].model_copy(update={"unique": True}), "Email": mapping.fields["Email"].model_copy(update={"unique": False}),
        }  # fmt: skip
        poll.mappings[name] = mapping.model_copy(update={"fields": fields, "yields_to": None})


# -- what arrives -----------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DQ-01", "DQ-10", "DQ-13", "DQ-15")
def test_leads_and_contacts_become_customers_with_fields_and_option_fields(world: World, poll: Poll) -> None:
    (account,) = world.insert("Account", {"Name": "Acme", "Industry": "Media"})
    (contact,) = world.insert(
        "Contact", _contact(FirstName="Ann", AccountId=account, MailingCity="Utrecht", Deployteq_Opt_In__c=True)
    )
    (lead,) = world.insert("Lead", _lead(LeadSource="Web", Industry="Energy"))
    counts = poll()
    assert counts == {CONTACTS: Counts(read=1, created=1), LEADS: Counts(read=1, created=1)}
    given = [{name: value for name, value in customer.items() if value not in ("", {})} for customer in world.customers]
    assert given == [
        {
            "externalId": contact, "emailAddress": "contact1@acme.example", "firstname": "Ann", "lastname": "Contact 1", "city": "Utrecht",
            "companyName": "Acme", "optIn": "Y", "status": "CUSTOMER",
            "options": {"Industry": "Media", "LeadSource": "", "salesforceObject": "Contact"},
        },
        {
            "externalId": lead, "emailAddress": "lead1@acme.example", "lastname": "Lead 1", "companyName": "Acme", "optIn": "N",
            "status": "PROSPECT", "options": {"Industry": "Energy", "LeadSource": "Web", "salesforceObject": "Lead"},
        },
    ]  # fmt: skip


@pytest.mark.requirement("DQ-16", "DQ-17")
def test_only_what_changed_is_sent_and_nothing_else_of_a_customer_is_touched(world: World, poll: Poll) -> None:
    first, _ = world.insert("Contact", _contact(1), _contact(2))
    poll()
    for customer in world.deployteq.state.customers.values():
        customer |= {"lastname": "changed at Deployteq", "gender": "WOMAN"}
    world.org.clock.shift(600)
    world.update("Contact", {"Id": first, "FirstName": "Ann"})
    world.deployteq.calls.clear()
    assert poll()[CONTACTS] == Counts(read=2, updated=1, unchanged=1)  # the look-back reads the other once more
    assert world.deployteq.calls == {"update": 1}  # by the id that it got
    assert [(customer["lastname"], customer["gender"]) for customer in world.customers] == [
        ("Contact 1", "WOMAN"), ("changed at Deployteq", "WOMAN"),
    ]  # fmt: skip


@pytest.mark.requirement("DQ-14", "DQ-A1")
def test_the_status_of_a_lead_is_the_mappings_to_choose(world: World, poll: Poll) -> None:
    leads = poll.mappings[LEADS]
    constants = leads.vendor.constants | {"status": "SUSPECT"}
    poll.mappings[LEADS] = leads.model_copy(update={"vendor": leads.vendor.model_copy(update={"constants": constants})})
    world.insert("Lead", _lead())
    poll()
    assert [customer["status"] for customer in world.customers] == ["SUSPECT"]


@pytest.mark.requirement("DQ-15", "DQ-A3")
def test_consent_that_is_taken_back_is_passed_on(world: World, poll: Poll) -> None:
    (lead,) = world.insert("Lead", _lead(Deployteq_Opt_In__c=True))
    poll()
    world.update("Lead", {"Id": lead, "Deployteq_Opt_In__c": False})
    poll()
    assert [customer["optIn"] for customer in world.customers] == ["N"]


@pytest.mark.requirement("DQ-A3")
def test_consent_that_is_taken_back_stays_when_the_mapping_says_so(world: World, poll: Poll) -> None:
    leads = poll.mappings[LEADS]
    consent = leads.fields["Deployteq_Opt_In__c"].model_copy(
        update={"transforms": (TransformCall("opt_in_only"),), "when_empty": "keep"}
    )
    poll.mappings[LEADS] = leads.model_copy(update={"fields": leads.fields | {"Deployteq_Opt_In__c": consent}})
    (lead,) = world.insert("Lead", _lead(Deployteq_Opt_In__c=True))
    poll()
    world.update("Lead", {"Id": lead, "Deployteq_Opt_In__c": False})
    poll()
    assert [customer["optIn"] for customer in world.customers] == ["Y"]


def test_a_value_that_is_emptied_in_salesforce_is_emptied_at_deployteq(world: World, poll: Poll) -> None:
    (lead,) = world.insert("Lead", _lead(City="Gouda"))
    poll()
    world.update("Lead", {"Id": lead, "City": None})
    poll()
    assert [customer["city"] for customer in world.customers] == [""]


# -- who is who -------------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DQ-12")
def test_by_e_mail_a_converted_lead_stays_one_customer(world: World, poll: Poll) -> None:
    from emulators.salesforce.conversion import Conversion, convert_lead

    (lead,) = world.insert("Lead", _lead())
    poll()
    convert_lead(world.org, Conversion(lead))
    counts = poll()
    (contact,) = world.query("SELECT Id FROM Contact")
    assert counts == {CONTACTS: Counts(read=1, updated=1), LEADS: Counts(read=1, skipped=1)}
    assert poll.history(lead)[0] == ("skipped", "CONVERTED_IN_SALESFORCE")
    assert [(customer["externalId"], customer["status"]) for customer in world.customers] == [
        (contact["Id"], "PROSPECT")  # what somebody is there, only the first delivery says
    ]


@pytest.mark.requirement("DQ-11")
def test_by_salesforce_id_a_converted_lead_is_a_second_customer(world: World, poll: Poll) -> None:
    from emulators.salesforce.conversion import Conversion, convert_lead

    _unique_by_id(poll)
    (lead,) = world.insert("Lead", _lead())
    poll()
    convert_lead(world.org, Conversion(lead))
    poll()
    assert [customer["status"] for customer in world.customers] == ["PROSPECT", "CUSTOMER"]


@pytest.mark.requirement("DQ-A4")
def test_a_lead_with_the_e_mail_address_of_a_contact_is_left_to_it(world: World, poll: Poll) -> None:
    world.insert("Contact", _contact(Email="Same@acme.example"))
    (lead,) = world.insert("Lead", _lead(Email="same@acme.example"))
    assert poll()[LEADS] == Counts(read=1, waiting=1)
    assert poll.history(lead) == [("waiting", "LEFT_TO_OTHER_RECORD")]
    assert [customer["lastname"] for customer in world.customers] == ["Contact 1"]


@pytest.mark.requirement("DQ-A7")
def test_a_record_without_an_e_mail_address_is_skipped_with_the_reason(world: World, poll: Poll) -> None:
    (lead,) = world.insert("Lead", _lead(Email=None))
    assert poll()[LEADS] == Counts(read=1, skipped=1)
    assert poll.history(lead) == [("skipped", "NO_UNIQUE_VALUE")]


@pytest.mark.requirement("DQ-A5")
def test_a_deleted_record_is_logged_and_its_customer_stays(world: World, poll: Poll) -> None:
    (lead,) = world.insert("Lead", _lead())
    poll()
    world.delete("Lead", lead)
    assert poll()[LEADS] == Counts(read=1, skipped=1)
    assert poll.history(lead)[0] == ("skipped", "DELETED_IN_SALESFORCE")
    assert len(world.customers) == 1


@pytest.mark.requirement("DQ-A5")
def test_a_deleted_records_customer_is_deleted_when_the_setting_says_so(world: World, poll: Poll) -> None:
    poll.delete = True
    one, two = world.insert("Lead", _lead(1), _lead(2, Email="lead1@acme.example"))
    (three,) = world.insert("Lead", _lead(3))
    poll()
    world.delete("Lead", one, three)
    assert poll()[LEADS] == Counts(read=3, deleted=1, skipped=1, unchanged=1)
    assert [customer["externalId"] for customer in world.customers] == [
        two
    ]  # two Leads, one address: the customer lives on


@pytest.mark.requirement("DQ-A5")
def test_a_merged_record_is_logged_with_the_one_that_it_became(world: World, poll: Poll) -> None:
    from emulators.salesforce.merging import merge

    gone, stays = world.insert("Lead", _lead(1), _lead(2))
    poll()
    world.org.clock.shift(600)
    merge(world.org, stays, [gone])
    assert poll()[LEADS] == Counts(read=2, skipped=1, unchanged=1)
    with poll.state.connect() as connection:
        row = sync_log.of_record(connection, gone)[0]
    assert (row["code"], row["message"]) == ("MERGED_IN_SALESFORCE", f"merged into {stays}")


# -- nothing lost, nothing doubled ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DQ-18")
def test_a_full_sync_needs_nobody_to_touch_the_records(world: World, poll: Poll) -> None:
    world.insert("Lead", *(_lead(number) for number in range(30)))
    for counts in (Counts(read=30, created=30), Counts(read=30, unchanged=30), Counts()):
        assert poll()[LEADS] == counts
        world.org.clock.shift(3_600)
    assert poll(full=True)[LEADS] == Counts(read=30, unchanged=30)


def test_a_poll_that_finds_nothing_costs_one_call_per_object(world: World, poll: Poll) -> None:
    poll()
    before = world.org.usage.used
    world.org.clock.shift(3_600)
    poll()
    assert world.org.usage.used - before == 2


def test_many_records_with_one_stamp_and_late_ones_arrive_once(world: World, poll: Poll) -> None:
    world.org.clock.stop_at(NOON)
    world.insert("Lead", *(_lead(number) for number in range(3_000)))
    world.salesforce_fault(kind="late", path="Lead", seconds=60)
    world.insert("Lead", _lead(9_999))
    for minutes in (1 / 3, 2, 4):
        world.org.clock.stop_at(NOON + timedelta(minutes=minutes))
        poll()
    assert len(world.customers) == 3_001
    assert world.deployteq.calls["insert_bulk_unique"] == 61  # none was sent twice


@pytest.mark.parametrize("minutes", [-2, 2])
def test_a_clock_that_is_two_minutes_off_loses_nothing(world: World, poll: Poll, minutes: int) -> None:
    """Only Salesforce's own clock counts: the one of this machine is that far from it."""
    world.org.clock.stop_at(datetime.now(UTC) + timedelta(minutes=minutes))
    world.insert("Lead", _lead(1))
    poll()
    world.org.clock.shift(30)
    world.insert("Lead", _lead(2))
    poll()
    assert len(world.customers) == 2


def _killed(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("when", ["before anything is sent", "after it was sent", "before it is committed"])
def test_a_poll_that_is_killed_is_made_up_for_by_the_next(
    world: World, poll: Poll, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    from salesforce_sync.engine import commit

    world.insert("Lead", *(_lead(number) for number in range(5)))
    save: Callable[..., Any] = poll.hook.save

    def sent_and_killed(*arguments: Any, **options: Any) -> None:
        save(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if when == "before it is committed":
            patched.setattr(commit.links, "save", _killed)
        else:
            patched.setattr(poll.hook, "save", sent_and_killed if when == "after it was sent" else _killed)
        with pytest.raises(KeyboardInterrupt):
            poll()
    world.org.clock.shift(600)
    assert poll()[LEADS] == Counts(read=10, created=5, unchanged=5)  # the look-back reads them once more
    assert len(world.customers) == 5


def test_two_polls_at_once_double_nothing(world: World, poll: Poll) -> None:
    world.insert("Lead", *(_lead(number) for number in range(5)))
    poll.extract()
    poll.runs = 1
    assert poll()[LEADS] == Counts(read=10, created=5, skipped=5)
    assert len(world.customers) == 5


def test_a_poll_that_was_overtaken_does_not_bring_old_values_back(world: World, poll: Poll) -> None:
    (lead,) = world.insert("Lead", _lead(City="Gouda"))
    poll.extract()
    poll.runs = 1
    world.org.clock.shift(60)
    world.update("Lead", {"Id": lead, "City": "Delft"})
    assert poll()[LEADS] == Counts(read=2, created=1, skipped=1)
    assert [customer["city"] for customer in world.customers] == ["Delft"]
    assert poll.history(lead)[-1] == ("skipped", "SUPERSEDED")


def test_a_changed_e_mail_address_changes_the_customer_and_makes_no_second_one(world: World, poll: Poll) -> None:
    (lead,) = world.insert("Lead", _lead())
    poll()
    world.update("Lead", {"Id": lead, "Email": "new@acme.example"})
    assert poll()[LEADS] == Counts(read=1, updated=1)
    assert [customer["emailAddress"] for customer in world.customers] == ["new@acme.example"]
    world.deployteq.state.customers.clear()  # somebody deleted it at Deployteq
    world.update("Lead", {"Id": lead, "Email": "newer@acme.example"})
    poll()
    assert [customer["emailAddress"] for customer in world.customers] == ["newer@acme.example"]


def test_an_e_mail_address_that_another_record_has_makes_the_two_one_customer(world: World, poll: Poll) -> None:
    one, _ = world.insert("Lead", _lead(1), _lead(2))
    poll()
    world.update("Lead", {"Id": one, "Email": "lead2@acme.example"})
    assert poll()[LEADS] == Counts(read=2, updated=1, unchanged=1)
    assert [(customer["emailAddress"], customer["lastname"]) for customer in world.customers] == [
        ("lead1@acme.example", "Lead 1"), ("lead2@acme.example", "Lead 1"),
    ]  # fmt: skip


def test_a_refused_customer_is_dead_lettered_and_the_others_arrive(world: World, poll: Poll) -> None:
    (bad, *_) = world.insert("Lead", *(_lead(number) for number in range(10)))
    world.deployteq.refuse("lead0@acme.example")
    assert poll()[LEADS] == Counts(read=10, created=9, rejected=1)
    with poll.state.connect() as connection:
        (letter,) = dead_letters.unresolved(connection)
    assert (letter["record_id"], letter["code"]) == (bad, "110")
    assert "lead0@acme.example" in letter["payload"]


def test_more_refused_customers_than_the_limit_fail_the_task_after_the_others_arrived(
    world: World, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salesforce_sync.systems.deployteq import hook

    world.insert("Lead", *(_lead(number) for number in range(60)))
    for number in range(25):
        world.deployteq.refuse(f"lead{number}@acme.example")
    # Those who are tried alone first are chosen at random; of five who are all refused, the hook concludes that the
    # others would be.
    monkeypatch.setattr(hook.random, "sample", lambda places, count: list(places)[::11][:count])
    with pytest.raises(TooManyRejects, match="25 of 60 records were refused"):
        poll()
    assert len(world.customers) == 35


def test_when_deployteq_is_down_everything_comes_with_the_next_poll(world: World, poll: Poll) -> None:
    world.insert("Contact", _contact())
    world.vendor_fault(kind="status", status=503, times=8)
    with pytest.raises(ServiceUnavailable):
        poll()
    world.vendors.faults.clear()
    world.org.clock.shift(600)
    assert poll()[CONTACTS] == Counts(read=2, created=1, skipped=1)  # the first reading is superseded by the second


# -- who is new there, and who is not -----------------------------------------------------------------------------------------------


def _without_consent(poll: Poll) -> None:
    mapping = poll.mappings[CONTACTS]
    fields = {name: item for name, item in mapping.fields.items() if not item.consent}
    poll.mappings = {CONTACTS: mapping.model_copy(update={"fields": fields})}


def _consent(world: World) -> list[tuple[str, str]]:
    return [(customer["emailAddress"], customer["optIn"]) for customer in world.customers]


def test_a_mapping_without_opt_in_opts_nobody_in_and_nobody_out(world: World, poll: Poll) -> None:
    _without_consent(poll)
    known = [{"emailAddress": "contact1@acme.example", "optIn": "Y"}]
    world.deployteq.answers.insert_bulk_unique(known, ["emailAddress"], [])
    world.insert("Contact", _contact(1), _contact(2))
    assert poll()[CONTACTS] == Counts(read=2, created=2)
    assert _consent(world) == [("contact1@acme.example", "Y"), ("contact2@acme.example", "N")]


def _customer_goes_after_the_look(world: World, poll: Poll, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deletes customer 1 at Deployteq right after each look for customers."""
    look = poll.hook.find

    def then_it_goes(*arguments: Any, **options: Any) -> Any:
        found = look(*arguments, **options)
        world.deployteq.state.remove(1)
        return found

    monkeypatch.setattr(poll.hook, "find", then_it_goes)


def test_a_customer_that_is_deleted_between_the_look_and_the_call_comes_back_without_consent(
    world: World, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was known, so nothing is said of its consent; what makes it a new one must say no."""
    known = [{"emailAddress": "contact1@acme.example", "optIn": "Y"}]
    world.deployteq.answers.insert_bulk_unique(known, ["emailAddress"], [])
    world.insert("Contact", _contact(Deployteq_Opt_In__c=True))
    _customer_goes_after_the_look(world, poll, monkeypatch)
    assert poll()[CONTACTS].created == 1
    assert _consent(world) == [("contact1@acme.example", "N")]


def test_two_records_of_one_new_customer_opt_nobody_in_when_the_first_is_refused(
    world: World, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_consent(poll)
    first, _ = world.insert("Contact", _contact(1), _contact(1, LastName="Second"))
    save = poll.hook.save

    def but_not_the_first(stream: str, records: Any, **options: Any) -> Any:
        if records[0]["externalId"] != first:
            return save(stream, records, **options)
        return [VendorResult(None, "110", "refused"), *save(stream, records[1:], **options)]

    monkeypatch.setattr(poll.hook, "save", but_not_the_first)
    assert poll()[CONTACTS].rejected == 1
    assert _consent(world) == [("contact1@acme.example", "N")]


@pytest.mark.parametrize("status", ["BLACKLIST", "SUSPECT"])
def test_what_somebody_is_at_deployteq_is_not_set_back(world: World, poll: Poll, status: str) -> None:
    known = [{"emailAddress": "contact1@acme.example", "status": status}]
    world.deployteq.answers.insert_bulk_unique(known, ["emailAddress"], [])
    (contact,) = world.insert("Contact", _contact())
    poll()
    world.org.clock.shift(600)
    world.update("Contact", {"Id": contact, "FirstName": "Ann"})
    assert poll()[CONTACTS].updated == 1
    assert [(customer["firstname"], customer["status"]) for customer in world.customers] == [("Ann", status)]


def test_a_mapping_that_names_what_no_customer_has_is_told_so_before_anything_is_sent(world: World, poll: Poll) -> None:
    mapping = poll.mappings[CONTACTS]
    fields = mapping.fields | {"LastName": mapping.fields["LastName"].model_copy(update={"vendor": "lastnaam"})}
    poll.mappings = {CONTACTS: mapping.model_copy(update={"fields": fields})}
    world.insert("Contact", _contact())
    with pytest.raises(InvalidMapping, match=r"deployteq/contacts does not fit the vendor.*have no lastnaam"):
        poll()
    assert world.deployteq.calls == {}


# -- what changes without a stamp ---------------------------------------------------------------------------------------------------


def test_a_parents_new_name_arrives(world: World, poll: Poll) -> None:
    (account,) = world.insert("Account", {"Name": "Acme", "Industry": "Media"})
    world.insert("Contact", _contact(AccountId=account))
    poll()
    world.org.clock.shift(3_600)
    world.update("Account", {"Id": account, "Name": "Acme Europe"})
    assert poll()[CONTACTS] == Counts(read=1, updated=1)
    assert [customer["companyName"] for customer in world.customers] == ["Acme Europe"]


def _whole(poll: Poll, **span: Any) -> int:
    from salesforce_sync.engine.from_salesforce import Span, read_changes

    poll.runs += 1
    context = poll.context("extract", client=True)
    found = read_changes(context, CONTACTS, poll.mappings[CONTACTS], span=Span(**span))
    poll.push()
    return found


def _last_whole_reading(poll: Poll, *, days_ago: int) -> None:
    from salesforce_sync.state.schema import watermarks as table

    moment = datetime.now(UTC) - timedelta(days=days_ago)
    with poll.state.begin() as connection:
        whole = table.c.stream == f"{CONTACTS}/whole"
        assert connection.execute(table.update().where(whole).values(value=moment.isoformat())).rowcount == 1


def test_what_was_deleted_for_good_is_found_when_everything_is_read(world: World, poll: Poll) -> None:
    poll.delete = True
    one, two = world.insert("Contact", _contact(1), _contact(2))
    poll()
    world.org.dml.delete(world.org.schema.objects["Contact"], [one], hard=True)
    world.org.clock.shift(25 * 3_600)  # and an org shows it no more
    poll()  # what the look-back reads again
    world.org.clock.shift(3_600)
    _last_whole_reading(poll, days_ago=6)
    assert _whole(poll, whole_days=7) == 0
    _last_whole_reading(poll, days_ago=7)
    assert _whole(poll, whole_days=7) == 2  # the one that is there, and the one that is nowhere
    assert [customer["externalId"] for customer in world.customers] == [two]
    assert _whole(poll, whole_days=7) == 0
    _last_whole_reading(poll, days_ago=99)
    assert _whole(poll, whole_days=0) == 0


def test_a_mapping_that_reads_a_formula_is_read_whole_every_day(world: World, poll: Poll) -> None:
    from emulators.salesforce.schema import Field, Schema

    score = Field(
        "Score__c",
        "string",
        "Score",
        length=20,
        calculated=True,
        formula="x",
        createable=False,
        updateable=False,
        custom=True,
    )
    objects = world.org.schema.objects
    account = replace(objects["Account"], fields={**objects["Account"].fields, "Score__c": score})
    world.org.change_schema(Schema({**objects, "Account": account}))
    mapping = poll.mappings[CONTACTS]
    fields = mapping.fields | {"Account.Score__c": mapping.fields["LeadSource"]}
    del fields["LeadSource"]
    poll.mappings = {CONTACTS: mapping.model_copy(update={"fields": fields})}
    (parent,) = world.insert("Account", {"Name": "Acme"})
    world.insert("Contact", _contact(AccountId=parent))
    poll()
    with world.org.store.writing() as connection:
        connection.execute("UPDATE \"Account\" SET Score__c = 'high'")  # as a formula changes: nothing is stamped
    world.org.clock.shift(3_600)
    poll()  # what the look-back reads again
    world.org.clock.shift(3_600)
    assert _whole(poll, whole_days=7) == 0
    _last_whole_reading(poll, days_ago=1)
    assert _whole(poll, whole_days=7) == 1
    assert [customer["options"]["LeadSource"] for customer in world.customers] == ["high"]


def test_what_shows_late_is_found_within_the_look_back_of_the_setting(world: World, poll: Poll) -> None:
    world.org.clock.stop_at(NOON)
    poll()
    world.salesforce_fault(kind="late", path="Contact", seconds=480)
    world.insert("Contact", _contact())
    for minutes in (10, 20):
        world.org.clock.stop_at(NOON + timedelta(minutes=minutes))
        found = _whole(poll, lookback=timedelta(minutes=15 if minutes == 20 else 5))
    assert found == 1


# -- what an attack found -----------------------------------------------------------------------------------------------------------


def _address(number: int = 1) -> str:
    return f"contact{number}@acme.example"


def _opt_out(world: World) -> None:
    for customer in world.deployteq.state.customers.values():
        customer["optIn"] = "N"


def _killed_after(
    poll: Poll, monkeypatch: pytest.MonkeyPatch, method: str, *, calls: int, then: Callable[[], None]
) -> None:
    """The delivery dies when the vendor has done so many calls of the method, and before it hears of the last one."""
    do, done = getattr(poll.hook, method), []

    def dying(*arguments: Any, **options: Any) -> Any:
        answer = do(*arguments, **options)
        done.append(1)
        if len(done) == calls:
            then()
            raise KeyboardInterrupt
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(poll.hook, method, dying)
        with pytest.raises(KeyboardInterrupt):
            poll.push()


def test_a_yes_of_a_second_record_with_one_address_is_not_repeated(
    world: World, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.insert("Contact", *(_contact(1, LastName=name, Deployteq_Opt_In__c=True) for name in "AB"))
    poll.extract()
    _killed_after(poll, monkeypatch, "save", calls=2, then=lambda: _opt_out(world))
    poll.push()
    assert _consent(world) == [(_address(), "N")]


def test_a_customer_that_is_gone_becomes_the_one_that_has_its_address(world: World, poll: Poll) -> None:
    (contact,) = world.insert("Contact", _contact(Deployteq_Opt_In__c=True))
    poll()
    world.deployteq.state.remove(1)
    known = [{"emailAddress": _address(), "status": "BLACKLIST", "optIn": "N"}]
    world.deployteq.answers.insert_bulk_unique(known, ["emailAddress"], [])
    world.org.clock.shift(600)
    world.update("Contact", {"Id": contact, "FirstName": "Ann"})
    assert poll()[CONTACTS].updated == 1
    assert [(item["firstname"], item["status"], item["optIn"]) for item in world.customers] == [
        ("Ann", "BLACKLIST", "N")
    ]


def test_a_repeated_record_whose_customer_is_deleted_meanwhile_opts_nobody_in(
    world: World, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.insert("Contact", _contact(Deployteq_Opt_In__c=True))
    poll.extract()
    _killed_after(poll, monkeypatch, "save", calls=1, then=lambda: None)
    _customer_goes_after_the_look(world, poll, monkeypatch)
    poll.push()
    assert _consent(world) == [(_address(), "N")]


@pytest.mark.parametrize("what", ["delete", "find", "update"])
def test_one_record_whose_call_is_refused_does_not_stop_the_others(
    world: World, poll: Poll, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    poll.delete = True
    contacts = world.insert("Contact", *(_contact(number) for number in range(3)))
    if what != "find":
        poll()
        world.org.clock.shift(600)
    if what == "delete":
        world.delete("Contact", *contacts)
    elif what == "update":
        world.update("Contact", *({"Id": contact, "FirstName": "Ann"} for contact in contacts))
    do = getattr(poll.hook, what)

    def picky(stream: str, given: Any, *more: Any, **options: Any) -> Any:
        if "1" in given or (what == "find" and {"emailAddress": _address(1)} in given):
            raise RequestRejected("not this one", code="999")
        return do(stream, given, *more, **options)

    monkeypatch.setattr(poll.hook, what, picky)
    counts = poll()[CONTACTS]
    assert (counts.rejected, counts.deleted + counts.created + counts.updated) == (1, 2)


def test_bad_contacts_are_dead_letters_and_stop_no_leads(world: World, poll: Poll) -> None:
    contacts = [_contact(number) for number in range(6)]
    for contact in contacts:
        world.deployteq.refuse(contact["Email"])
    world.insert("Contact", *contacts)
    world.insert("Lead", *(_lead(number) for number in range(10)))
    counts = poll()
    assert (counts[CONTACTS].rejected, counts[LEADS].created) == (6, 10)


def test_a_call_that_breaks_in_an_unforeseen_way_is_not_repeated_for_ever(
    world: World, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = world.insert("Contact", _contact(1), _contact(2))
    save = poll.hook.save

    def broken(stream: str, records: Any, **options: Any) -> Any:
        if any(record["externalId"] == first for record in records):
            raise TypeError("nobody has foreseen this")
        return save(stream, records, **options)

    monkeypatch.setattr(poll.hook, "save", broken)
    poll.extract()
    for _ in range(10):
        try:
            poll.push()
        except ServiceUnavailable:
            continue
        break
    assert poll.history(first)[0] == ("rejected", "UNANSWERED")
    assert [customer["externalId"] for customer in world.customers] == [second]


def test_an_address_that_deployteq_has_already_makes_no_second_customer_with_it(world: World, poll: Poll) -> None:
    (contact,) = world.insert("Contact", _contact(1, Deployteq_Opt_In__c=True))
    poll()
    known = [{"emailAddress": _address(2), "status": "BLACKLIST", "optIn": "N"}]
    world.deployteq.answers.insert_bulk_unique(known, ["emailAddress"], [])
    world.org.clock.shift(600)
    world.update("Contact", {"Id": contact, "Email": _address(2), "FirstName": "Ann"})
    poll()
    assert [(item["emailAddress"], item["status"], item["optIn"]) for item in world.customers] == [
        (_address(1), "CUSTOMER", "N"),  # nobody's any more, and without consent
        (_address(2), "BLACKLIST", "N"),
    ]
    assert world.customers[1]["firstname"] == "Ann"
    world.org.clock.shift(600)
    world.update("Contact", {"Id": contact, "FirstName": "Anna"})
    poll()
    assert world.customers[1]["firstname"] == "Anna"


def test_a_parent_that_only_the_condition_names_counts_as_well(world: World, poll: Poll) -> None:
    mapping = poll.mappings[CONTACTS]
    fields = {name: item for name, item in mapping.fields.items() if not name.startswith("Account.")}
    side = mapping.salesforce.model_copy(update={"where": "Account.Industry = 'Media'"})
    poll.mappings = {CONTACTS: mapping.model_copy(update={"fields": fields, "salesforce": side})}
    (account,) = world.insert("Account", {"Name": "Acme", "Industry": "Energy"})
    world.insert("Contact", _contact(AccountId=account))
    assert poll()[CONTACTS].read == 0
    world.org.clock.shift(3_600)
    world.update("Account", {"Id": account, "Industry": "Media"})
    assert poll()[CONTACTS] == Counts(read=1, created=1)
