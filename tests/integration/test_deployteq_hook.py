"""The Deployteq hook against the emulator, by zeep: what it writes, and what it says when Deployteq misbehaves."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import requests

from salesforce_sync.errors import AuthenticationFailed, InvalidCredentials, RequestRejected, ServiceUnavailable
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import VendorResult
from support.airflow import variables
from support.answers import Answers
from support.world import World

pytestmark = pytest.mark.airflow
EMAIL = ["emailAddress"]
NEW = {"optIn": "Y", "status": "PROSPECT"}  # the defaults of a new customer


def _hook(world: World, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Any:
    from salesforce_sync.systems import vendor
    from salesforce_sync.systems.deployteq.hook import DeployteqHook

    monkeypatch.setattr(vendor.time, "sleep", lambda _: None)
    variables(monkeypatch, deployteq_credentials=json.dumps(world.deployteq_credentials | changes))
    return DeployteqHook()


def _people(count: int) -> list[dict[str, Any]]:
    return [{"emailAddress": f"p{number}@acme.example", "lastname": f"Person {number}"} for number in range(count)]


@pytest.mark.requirement("DQ-06")
def test_the_connection_test_says_that_it_works(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _hook(world, monkeypatch).test() == "You are successfully connected to Deployteq"


@pytest.mark.requirement("DQ-06")
def test_a_wrong_token_names_the_variable_and_shows_no_secret(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AuthenticationFailed, match="Check the Variable deployteq_credentials") as raised:
        _hook(world, monkeypatch, token="wrong-secret").test()
    assert "wrong-secret" not in str(raised.value)


def test_a_missing_token_is_a_clear_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidCredentials, match="token: missing"):
        _hook(world, monkeypatch, token="").test()


def test_customers_go_in_bulk_and_come_back_with_their_ids(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    results = _hook(world, monkeypatch).save("customers", _people(120), unique=EMAIL)
    assert [result.vendor_id for result in results] == [str(number) for number in range(1, 121)]
    assert world.deployteq.calls == {"insert_bulk_unique": 3}


def test_a_known_customer_keeps_what_it_is_not_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = _hook(world, monkeypatch)
    hook.save(
        "customers",
        [{"emailAddress": "a@b.example", "firstname": "Ann", "city": "Gouda", "options": {"Industry": "Media"}}],
        unique=EMAIL,
    )
    hook.save(
        "customers", [{"emailAddress": "A@B.example", "city": "", "options": {"LeadSource": "Web"}}], unique=EMAIL
    )
    assert world.customers == [
        NEW | {"emailAddress": "A@B.example", "firstname": "Ann", "city": "", "options": {"Industry": "Media", "LeadSource": "Web"}},
    ]  # fmt: skip


def test_customers_may_be_unique_by_an_option_field(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = _hook(world, monkeypatch)
    for city in ("Gouda", "Delft"):
        hook.save("customers", [{"city": city, "options": {"salesforceId": "003x"}}], unique=["options.salesforceId"])
    assert world.customers == [NEW | {"city": "Delft", "options": {"salesforceId": "003x"}}]


def test_one_bad_customer_is_refused_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    people = _people(20)
    people[7]["emailAddress"] = "not an address"
    results = _hook(world, monkeypatch).save("customers", people, unique=EMAIL)
    refused = [(place, result) for place, result in enumerate(results) if result.vendor_id is None]
    assert refused == [
        (7, VendorResult(None, "110", "deployteq refused the request (110): customer 0: emailAddress is not valid"))
    ]
    assert len(world.customers) == 19


def test_a_fault_of_the_mapping_is_noticed_before_each_customer_is_tried(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [person | {"options": {"Indstry": "Media"}} for person in _people(50)]
    results = _hook(world, monkeypatch).save("customers", people, unique=EMAIL)
    assert {result.code for result in results} == {"110"}
    unsent = [str(result.message) for result in results if str(result.message).startswith("not sent alone")]
    assert len(unsent) == 45
    assert (
        "5 others were all refused like this: deployteq refused the request (110): customer 0: there is no" in unsent[0]
    )
    assert (world.deployteq.calls["insert_bulk_unique"], world.customers) == (6, [])


def test_customers_who_are_all_refused_for_different_reasons_are_tried_one_by_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = [{"emailAddress": "not an address"}, {"status": "unknown"}, {"optIn": "perhaps"}]
    people = [person | wrong[place % 3] for place, person in enumerate(_people(30))]
    from salesforce_sync.systems.deployteq import hook as deployteq

    monkeypatch.setattr(deployteq.random, "sample", lambda places, count: list(places)[:count])
    results = _hook(world, monkeypatch).save("customers", people, unique=EMAIL)
    assert [result.code for result in results] == ["110"] * 30


@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"status": 429}, {"status": 200, "body": "<html>closed</html>", "content_type": "text/html"}],
)
def test_a_passing_failure_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]) -> None:
    hook = _hook(world, monkeypatch)
    hook.test()
    world.vendor_fault(kind="status", method="POST", **fault)
    assert hook.save("customers", _people(1), unique=EMAIL) == [VendorResult("1")]


def test_a_deployteq_that_does_not_answer_in_time_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from salesforce_sync.systems.deployteq import soap

    monkeypatch.setattr(soap, "TIMEOUT_SECONDS", (1, 0.3))
    hook = _hook(world, monkeypatch)
    hook.test()
    world.vendor_fault(kind="slow", method="POST", seconds=0.6)
    assert hook.save("customers", _people(1), unique=EMAIL) == [VendorResult("1")]
    assert len(world.customers) == 1


def test_an_answer_that_got_lost_doubles_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = _hook(world, monkeypatch)
    hook.test()
    world.vendor_fault(kind="after", status=502, method="POST")
    assert hook.save("customers", _people(2), unique=EMAIL) == [VendorResult("1"), VendorResult("2")]
    assert len(world.customers) == 2


def test_a_failure_that_stays_is_raised(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.vendor_fault(kind="status", status=503, times=100)
    with pytest.raises(ServiceUnavailable, match="deployteq answered 503"):
        _hook(world, monkeypatch).test()


def test_deleting_a_customer_that_is_gone_is_no_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = _hook(world, monkeypatch)
    hook.save("customers", _people(2), unique=EMAIL)
    hook.delete("customers", ["1"])
    hook.delete("customers", ["1"])
    assert [customer["lastname"] for customer in world.customers] == ["Person 1"]


def test_members_of_a_group_are_read_added_and_taken_out_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from salesforce_sync.systems.deployteq import hook as deployteq

    monkeypatch.setattr(deployteq, "pause", lambda _: None)
    hook = _hook(world, monkeypatch)
    ids = [str(result.vendor_id) for result in hook.save("customers", _people(60), unique=EMAIL)]
    world.deployteq.state.groups[7] = []
    hook.add_members(7, ids)
    hook.add_members(7, ids[:3])
    assert [[customer["id"] for customer in page][:1] for page in hook.members(7)] == [[1], [51]]
    for _ in range(2):  # a task that died takes them out again
        hook.remove_members(7, ids[1:])
    assert world.deployteq.state.groups[7] == [1]
    with pytest.raises(RequestRejected, match="There is no group 8"):
        list(hook.members(8))


def test_customers_that_no_call_looks_for_are_found_among_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from salesforce_sync.systems.deployteq import hook as deployteq

    monkeypatch.setattr(deployteq, "pause", lambda _: None)
    hook = _hook(world, monkeypatch)
    record = {"options": {"salesforceId": "003x"}}
    assert hook.find("customers", [record], unique=["options.salesforceId"]) == [None]
    hook.save("customers", [record | {"city": "Delft"}], unique=["options.salesforceId"])
    (found,) = hook.find("customers", [record], unique=["options.salesforceId"])
    assert found["city"] == "Delft"


def test_a_token_that_is_malformed_is_wrong_credentials_as_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AuthenticationFailed, match="Check the Variable deployteq_credentials"):
        _hook(world, monkeypatch, token="short").test()


def test_a_code_other_than_0_is_a_refusal_though_there_is_no_fault(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = _hook(world, monkeypatch)
    world.deployteq.codes += [4]
    assert hook.save("customers", _people(1), unique=EMAIL) == [
        VendorResult(None, "4", "deployteq refused customer_insertBulkUnique (4), and says no reason.")
    ]


def test_a_fault_of_the_look_up_is_not_taken_for_a_customer_that_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = _hook(world, monkeypatch)
    hook.save("customers", _people(1), unique=EMAIL)
    world.deployteq.codes += [0, 7]
    with pytest.raises(RequestRejected, match=r"refused customer_getById \(7\)"):
        hook.update("customers", "1", {"emailAddress": "not an address"})
    assert hook.update("customers", "9", {"city": "Delft"}).code == "MISSING_AT_VENDOR"
    assert hook.get("customers", "9") is None


def test_a_set_that_was_closed_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from salesforce_sync.systems.deployteq import hook as deployteq

    monkeypatch.setattr(deployteq, "pause", lambda _: None)
    hook = _hook(world, monkeypatch)
    number = world.deployteq.state.new_resource("CUSTOMER_SET", [])
    world.deployteq.answers.free(number)
    with pytest.raises(ServiceUnavailable, match="is CLOSED"):
        list(hook._pages(number, "customerSet_getCustomers", "Customer"))


def test_a_customer_reads_back_without_what_nobody_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = _hook(world, monkeypatch)
    hook.save("customers", [{"emailAddress": "a@b.example", "birthday": "1990-05-01", "city": ""}], unique=EMAIL)
    hook.save("customers", [{"emailAddress": "c@d.example", "poBox": "12"}], unique=EMAIL)
    world.deployteq.state.customers[1]["password"] = "fake-password"
    shown = [
        {name: value for name, value in hook.get("customers", number).items() if not name.endswith("At")}
        for number in ("1", "2")
    ]
    common = {"optIn": "Y", "smsOptIn": "N", "status": "PROSPECT", "mailStatus": "ACTIVE", "options": {}}
    assert shown == [
        common | {"id": 1, "emailAddress": "a@b.example", "birthday": "1990-05-01"},
        common | {"id": 2, "emailAddress": "c@d.example", "poBox": "12"},
    ]


def test_elements_that_our_description_does_not_name_and_another_order_harm_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = _hook(world, monkeypatch)
    hook.save("customers", [{"emailAddress": "a@b.example", "options": {"Industry": "Media"}}], unique=EMAIL)
    types = dict(world.deployteq.service.types)
    backwards = {name: dict(reversed(fields.items())) for name, fields in types.items()}
    backwards["Customer"]["shoeSize"] = "string"
    monkeypatch.setattr(world.deployteq, "service", replace(world.deployteq.service, types=backwards))
    world.deployteq.state.customers[1]["shoeSize"] = "43"
    customer = hook.get("customers", "1")
    assert (customer["emailAddress"], customer["options"]) == ("a@b.example", {"Industry": "Media"})
    assert "shoeSize" not in customer


@pytest.mark.parametrize(
    ("fields", "constants", "problem"),
    [
        ({"LastName": "lastnaam"}, {}, "Deployteq's customers have no lastnaam"),
        ({"LastName": "password"}, {}, "Deployteq's customers have no password"),
        ({"LastName": "options"}, {}, "Deployteq's customers have no options"),
        (
            {"Opt__c": "optIn"},
            {},
            "optIn is a person's consent: map a field to it with `consent: true`, and no constant",
        ),
        ({}, {"optIn": "Y"}, "optIn is a person's consent: map a field to it with `consent: true`, and no constant"),
        (
            {"Opt__c": {"vendor": "optIn", "consent": True}, "Industry": "options.Industry"},
            {"status": "PROSPECT"},
            None,
        ),
    ],
)
def test_the_hook_names_what_cannot_work(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    constants: dict[str, str],
    problem: str | None,
) -> None:
    mapping = MappingFile.model_validate({
        "version": 1, "summary": "Test.", "direction": "to_vendor", "salesforce": {"object": "Contact"},
        "vendor": {"stream": "customers", "id": "id", "constants": constants},
        "fields": {"Email": {"vendor": "emailAddress", "unique": True}} | fields,
    })  # fmt: skip
    assert _hook(world, monkeypatch).problems(mapping) == ([problem] if problem else [])


@pytest.mark.parametrize("later", [{"status": 400}, {"status": 401}, {"status": 429}])
def test_a_write_without_an_answer_stays_one_whatever_is_answered_later(
    world: World, monkeypatch: pytest.MonkeyPatch, later: dict[str, int]
) -> None:
    hook = _hook(world, monkeypatch)
    hook.save("customers", _people(1), unique=EMAIL)
    world.vendor_fault(kind="after", status=502, method="POST")
    world.vendor_fault(kind="status", method="POST", times=9, skip=1, **later)
    with pytest.raises(ServiceUnavailable, match="answered 502"):
        hook.update("customers", "1", {"city": "Delft"})


def test_a_yes_whose_answer_got_lost_is_not_sent_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = _hook(world, monkeypatch)
    world.vendor_fault(kind="after", status=502, method="POST")
    with pytest.raises(ServiceUnavailable):
        hook.save("customers", [_people(1)[0] | {"optIn": "Y"}], unique=EMAIL)
    assert world.deployteq.calls["insert_bulk_unique"] == 1


def test_an_answer_without_a_code_is_no_success(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = _hook(world, monkeypatch)
    body = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><customer_updateResponse '
        'xmlns="https://secure.myclang.com/app/api/soap/public/index.php"/></e:Body></e:Envelope>'
    )
    world.vendor_fault(kind="status", status=200, body=body, content_type="text/xml", times=9, method="POST")
    with pytest.raises(ServiceUnavailable):
        hook.update("customers", "1", {"city": "Delft"})


def test_all_values_are_texts_to_deployteq(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = _hook(world, monkeypatch)
    record = _people(1)[0] | {"addressNumber": 12, "options": {"Industry": True, "LeadSource": None}}
    hook.save("customers", [record], unique=EMAIL)
    hook.save("customers", [_people(1)[0] | {"addressNumber": None}], unique=EMAIL)
    (customer,) = world.customers
    assert (customer["addressNumber"], customer["options"]) == ("", {"Industry": "true", "LeadSource": ""})


def test_the_description_is_ours_and_nothing_else_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.deployteq, "_describe", lambda _: pytest.fail("the vendor's description was read"))
    assert _hook(world, monkeypatch, api_url=world.deployteq_credentials["api_url"] + "?wsdl").test()


def test_the_emulator_knows_its_customers_after_a_restart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hook, vendor = _hook(world, monkeypatch), world.deployteq
    hook.save("customers", _people(2), unique=EMAIL)
    vendor.send("November")
    kept = json.loads(json.dumps(vendor.dump()))
    vendor.reset()
    vendor.restore(kept)
    assert hook.save("customers", _people(3), unique=EMAIL)[:2] == [VendorResult("1"), VendorResult("2")]
    assert (len(vendor.state.customers), len(vendor.state.mailings)) == (3, 1)


def test_many_customers_are_found_by_fifty_a_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hook, vendor = _hook(world, monkeypatch), world.deployteq
    known = [{"externalId": f"003{number}", "emailAddress": f"p{number}@acme.example"} for number in range(120)]
    unknown = [{"externalId": f"009{number}", "emailAddress": f"q{number}@acme.example"} for number in range(30)]
    assert hook.find("customers", [*known, *unknown], unique=EMAIL) == [None] * 150
    assert vendor.calls == {"number_of_customers": 1}
    hook.save("customers", known, unique=EMAIL)
    vendor.calls.clear()
    beats: list[int] = []
    shouted = [record | {"emailAddress": record["emailAddress"].upper()} for record in known]
    found = hook.find("customers", [*shouted, *unknown], unique=EMAIL, beat=lambda: beats.append(1))
    assert [customer and customer["externalId"] for customer in found] == [
        *(record["externalId"] for record in known),
        *[None] * 30,
    ]
    assert (vendor.calls["page_of_customers"], vendor.calls["get_by_email_address"], len(beats)) == (3, 0, 3)
    vendor.calls.clear()
    assert [item and item["externalId"] for item in hook.find("customers", known[:2], unique=EMAIL)] == [
        "0030",
        "0031",
    ]
    assert (vendor.calls["page_of_customers"], vendor.calls["get_by_email_address"]) == (0, 2)


# -- what others' services were seen to do ----------------------------------------------------------------------------------------


def test_one_control_character_leaves_the_other_customers_alone_on_the_way_out_and_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = _hook(world, monkeypatch)
    hook.save("customers", [{"emailAddress": f"{name}@b.example", "lastname": name} for name in "ab"], unique=EMAIL)
    for customer in world.deployteq.state.customers.values():
        customer["lastname"] = f"Van\x1b{customer['lastname']}\x0b"
    names = [hook.get("customers", str(number))["lastname"] for number in world.deployteq.state.customers]
    assert names == ["Vana", "Vanb"]


def test_a_call_that_is_redirected_goes_nowhere_with_its_token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere, hook = Answers([(200, {}, b"")]), _hook(world, monkeypatch)
    hook.test()
    with elsewhere.served():
        reply = requests.Response()
        reply.status_code, reply.url = 307, world.vendors_url
        reply.headers["location"] = f"{elsewhere.url}/other"
        monkeypatch.setattr(hook.session, "post", lambda *_, **options: options["allow_redirects"] or reply)
        with pytest.raises(
            RequestRejected, match=f"deployteq has moved: it answers 307 and names {elsewhere.url}/other"
        ):
            hook.test()
    assert elsewhere.asked == []


@pytest.mark.parametrize(
    ("given", "came_out"),
    [
        ("2026-11-21 12:00:00", "2026-11-21T11:00:00Z"),
        ("2026-11-21T12:00:00", "2026-11-21T11:00:00Z"),
        ("2026-11-21 12:00:00.0", "2026-11-21T11:00:00Z"),
        ("2026-11-21 12:00", "2026-11-21T11:00:00Z"),
        ("2026-07-21 12:00:00", "2026-07-21T10:00:00Z"),
        ("2026-11-21T12:00:00+00:00", "2026-11-21T12:00:00Z"),
        ("0000-00-00 00:00:00", None),
        ("", None),
        (None, None),
        ("21-11-2026 12:00", "21-11-2026 12:00 in Europe/Amsterdam"),
        ("2026-11-21", "2026-11-21 in Europe/Amsterdam"),
    ],
)
def test_a_time_is_the_vendors_in_every_spelling_or_refused_by_the_mapping(
    world: World, monkeypatch: pytest.MonkeyPatch, given: str | None, came_out: str | None
) -> None:
    assert _hook(world, monkeypatch)._iso(given) == came_out
