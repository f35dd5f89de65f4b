"""The PeerSpot hook against the emulator: what it reads, what it takes out, and what it says when PeerSpot misbehaves."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from emulators.vendors import peerspot as emulator
from salesforce_sync.errors import (
    AuthenticationFailed,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    SyncError,
    TransientError,
)
from salesforce_sync.windows import DateWindow
from support.airflow import variables
from support.answers import Answers
from support.world import World, activity

pytestmark = pytest.mark.airflow
DAY = DateWindow(date(2026, 11, 10), date(2026, 11, 10))


def _hook(world: World, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Any:
    from salesforce_sync.systems import vendor
    from salesforce_sync.systems.peerspot.hook import PeerSpotHook

    monkeypatch.setattr(vendor.time, "sleep", lambda _: None)
    variables(monkeypatch, peerspot_credentials=json.dumps(world.peerspot_credentials | changes))
    return PeerSpotHook()


def _read(hook: Any, window: DateWindow = DAY) -> list[dict[str, Any]]:
    return [record for page in hook.read("activities", window=window) for record in page]


@pytest.mark.requirement("PS-01", "PS-04")
def test_the_activities_of_a_day_are_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add_activities(activity(1), activity(2, day=date(2026, 11, 11)))
    assert _read(_hook(world, monkeypatch)) == [activity(1)]


@pytest.mark.requirement("PS-23")
def test_a_period_is_inclusive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add_activities(*(activity(number, day=date(2026, 11, number)) for number in range(9, 14)))
    read = _read(_hook(world, monkeypatch), DateWindow(date(2026, 11, 10), date(2026, 11, 12)))
    assert [record["date_visited"] for record in read] == ["2026-11-10", "2026-11-11", "2026-11-12"]


def test_all_pages_are_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add_activities(*(activity(number) for number in range(25)))
    hook = _hook(world, monkeypatch, per_page=10)
    assert [len(page) for page in hook.read("activities", window=DAY)] == [10, 10, 5]


@pytest.mark.requirement("PS-02")
def test_nothing_but_get_is_ever_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add_activities(activity(1))
    hook = _hook(world, monkeypatch)
    hook.test()
    _read(hook)
    assert dict(world.peerspot.calls) == {"GET": 2}


@pytest.mark.requirement("PS-17")
def test_a_good_connection_is_confirmed_in_peerspots_own_words(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _hook(world, monkeypatch).test() == "You are successfully connected to PeerSpot"


@pytest.mark.requirement("PS-14", "PS-16")
@pytest.mark.parametrize("changes", [{"token": "wrong-token"}, {"email": "somebody@example.invalid"}])
def test_a_wrong_email_or_token_is_named_without_being_shown(
    world: World, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]
) -> None:
    with pytest.raises(
        AuthenticationFailed, match=r"peerspot refused the credentials \(401\).*peerspot_credentials"
    ) as caught:
        _hook(world, monkeypatch, **changes).test()
    assert "wrong-token" not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 500}, {"kind": "status", "status": 429}, {"kind": "reset"}, {"kind": "truncate"}],
)
def test_a_passing_fault_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]) -> None:
    world.add_activities(activity(1))
    world.vendor_fault(path="/activities", times=2, **fault)
    assert len(_read(_hook(world, monkeypatch))) == 1


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ({"kind": "status", "status": 503}, ServiceUnavailable, "peerspot answered 503"),
        ({"kind": "status", "status": 429}, RateLimited, "peerspot limits the rate of requests"),
        ({"kind": "reset"}, ServiceUnavailable, "peerspot gave no answer"),
        ({"kind": "truncate"}, ServiceUnavailable, "text that is not complete JSON"),
        (
            {"kind": "status", "status": 200, "body": "<html>Soon</html>", "content_type": "text/html"},
            ServiceUnavailable,
            "answered with HTML",
        ),
        ({"kind": "status", "status": 404, "body": '{"error":"no such path"}'}, RequestRejected, "no such path"),
        ({"kind": "status", "status": 200, "body": '{"items":[]}'}, RequestRejected, "has no list at 'activities'"),
        ({"kind": "status", "status": 200, "body": '{"activities":[]}'}, RequestRejected, "has no 'next_page'"),
        (
            {"kind": "status", "status": 200, "body": '{"activities":[],"next_page":"more"}'},
            RequestRejected,
            "is not the number of a page",
        ),
        (
            {"kind": "status", "status": 200, "body": '{"activities":[],"next_page":1}'},
            RequestRejected,
            "page 1 names 1 as the next page",
        ),
    ],
)
def test_a_fault_that_stays_is_a_clear_error(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], error: type[Exception], said: str
) -> None:
    world.vendor_fault(path="/activities", times=10, **fault)
    with pytest.raises(error, match=said):
        _read(_hook(world, monkeypatch))


def test_an_answer_that_echoes_the_token_is_not_shown_with_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps(
        {"error": f"cannot GET /x?email={emulator.EMAIL}&token={emulator.TOKEN} for a.visitor@example.com"}
    )
    world.vendor_fault(kind="status", status=400, body=body, path="/activities")
    with pytest.raises(RequestRejected) as caught:
        _read(_hook(world, monkeypatch, auth="query"))
    assert emulator.TOKEN not in str(caught.value)
    assert "@example" not in str(caught.value)


@pytest.mark.requirement("PS-04", "PS-05")
def test_personal_data_never_leaves_the_hook(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add_activities(
        activity(
            1,
            partial_ip="192.0.2.17",
            email="jane@example.com",
            activity="jane@example.com visited",
            products=[{"id": "1", "name": "A", "by": "Jane"}],
        )
    )
    hook = _hook(world, monkeypatch)
    (record,) = _read(hook)
    assert "jane" not in json.dumps(record).lower()
    assert record["partial_ip"] == "192.0.2.x"
    assert record["products"] == [{"id": "1", "name": "A"}]
    assert dict(hook.removed) == {"partial_ip (masked)": 1, "activity (masked)": 1, "email": 1}


@pytest.mark.requirement("PS-A8")
def test_activities_without_an_id_get_the_same_ids_every_time_and_equal_ones_different_ids(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_activities(activity(1, id=None), activity(1, id=None), activity(1, id=None, domain="other.com"))
    hook = _hook(world, monkeypatch)
    first, again = [record["id"] for record in _read(hook)], [record["id"] for record in _read(hook)]
    assert first == again
    assert len(set(first)) == 3


def test_an_id_that_is_personal_data_becomes_a_hash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add_activities(activity(1, id="jane@example.com"))
    (record,) = _read(_hook(world, monkeypatch))
    assert record["id"].startswith("sha-")


def test_an_item_that_is_no_object_becomes_a_record_without_content(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.vendor_fault(
        kind="status", status=200, body='{"activities":[["Jane Doe"]],"next_page":null}', path="/activities"
    )
    (record,) = _read(_hook(world, monkeypatch))
    assert record["id"] is None
    assert "Jane" not in json.dumps(record)


def test_an_account_that_differs_is_met_by_configuration(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"data": {"rows": [{"uid": "1", "day": "2026-11-10"}], "next": None}})
    world.vendor_fault(kind="status", status=200, body=body, path="/other/path")
    changes = {
        "path": "/other/path",
        "items_path": "data.rows",
        "next_page_path": "data.next",
        "fields": {"id": "uid", "date_visited": "day"},
    }
    (record,) = _read(_hook(world, monkeypatch, **changes))
    assert (record["id"], record["date_visited"]) == ("1", "2026-11-10")


def test_a_bare_list_is_read_until_an_empty_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for body in ("[]", '[{"id":"2"}]', '[{"id":"1"}]'):
        world.vendors.faults._faults.insert(0, _status(body))
    assert [record["id"] for record in _read(_hook(world, monkeypatch))] == ["1", "2"]


def _status(body: str) -> Any:
    from emulators.control import Fault

    return Fault(kind="status", status=200, body=body, path="/activities")


@pytest.mark.parametrize(
    ("auth", "header", "query"),
    [
        ("header_pair", {"x-user-email": emulator.EMAIL, "x-user-token": emulator.TOKEN}, {}),
        ("bearer", {"authorization": f"Bearer {emulator.TOKEN}"}, {}),
        ("basic", {"authorization": "Basic YW5hbHlzdEBleGFtcGxlLmludmFsaWQ6ZmFrZS1wZWVyc3BvdC10b2tlbg=="}, {}),
        ("query", {}, {"email": emulator.EMAIL, "token": emulator.TOKEN}),
    ],
)
@pytest.mark.requirement("PS-06", "PS-A5")
def test_email_and_token_are_sent_in_the_configured_way(
    world: World, monkeypatch: pytest.MonkeyPatch, auth: str, header: dict[str, str], query: dict[str, str]
) -> None:
    hook = _hook(world, monkeypatch, auth=auth)
    sent: list[Any] = []
    request = hook.session.request
    hook.session.request = lambda *what, **options: sent.append(options) or request(*what, **options)
    world.vendor_fault(kind="status", status=200, body="[]", path="/activities")
    _read(hook)
    assert {key.lower(): value for key, value in sent[0]["headers"].items()} == header
    assert {key: value for key, value in sent[0]["params"].items() if key in ("email", "token")} == query


# -- answers as other services give them ------------------------------------------------------------------------------------------

EMPTY = json.dumps({"activities": [], "next_page": None}).encode()


def _answered(
    world: World, monkeypatch: pytest.MonkeyPatch, *given: tuple[int, dict[str, str], bytes], **changes: Any
) -> tuple[list[dict[str, Any]] | Exception, Answers]:
    """What the hook reads from a service that gives these answers, or the error that it ends with; and what it was sent."""
    answers = Answers(list(given))
    with answers.served():
        hook = _hook(world, monkeypatch, base_url=answers.url, **changes)
        try:
            return _read(hook), answers
        except SyncError as error:
            return error, answers


@pytest.mark.parametrize(
    "answer",
    [(204, {}, b""), (200, {}, b"\xef\xbb\xbf" + EMPTY), (200, {"content-type": "text/plain"}, EMPTY)],
    ids=["no content", "a byte order mark", "another content type"],
)
def test_an_empty_day_may_be_said_in_several_ways(world: World, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    assert _answered(world, monkeypatch, answer)[0] == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_named_and_not_followed(world: World, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    elsewhere = Answers([(200, {}, EMPTY)])
    with elsewhere.served():
        moved = (status, {"location": f"{elsewhere.url}/new?token=x"}, b"")
        error, answers = _answered(world, monkeypatch, moved)
    assert (len(answers.asked), elsewhere.asked) == (1, [])
    assert f"peerspot has moved: it answers {status} and names {elsewhere.url}/new." in str(error)


@pytest.mark.parametrize(
    ("status", "header", "tries"),
    [
        (429, "-1", 4),
        (429, "nan", 4),
        (429, "2", 4),
        (503, "2", 4),
        (429, "3600", 1),
        (503, "Fri, 31 Dec 2100 00:00:00 GMT", 1),
    ],
)
def test_a_retry_after_of_any_kind_is_understood(
    world: World, monkeypatch: pytest.MonkeyPatch, status: int, header: str, tries: int
) -> None:
    """A wait that is longer than a task should wait ends the try: the task's next one comes later."""
    error, answers = _answered(world, monkeypatch, (status, {"retry-after": header}, b"{}"))
    assert isinstance(error, TransientError)
    assert len(answers.asked) == tries


@pytest.mark.parametrize("status", [408, 425])
def test_a_status_that_passes_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    assert _answered(world, monkeypatch, (status, {}, b""), (200, {}, EMPTY))[0] == []


def test_pages_that_repeat_are_an_error_and_no_reading_without_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, answers = _answered(world, monkeypatch, (200, {}, json.dumps([activity(1)]).encode()))
    assert "page 2 is the same as a page before it" in str(error)
    assert len(answers.asked) == 2


def test_pages_that_go_round_are_an_error_as_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [json.dumps([activity(number)]).encode() for number in (1, 2, 1, 2)]
    error, answers = _answered(world, monkeypatch, *((200, {}, page) for page in pages))
    assert "page 3 is the same as a page before it" in str(error)
    assert len(answers.asked) == 3


def test_an_error_in_an_answer_with_200_is_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    error, _ = _answered(world, monkeypatch, (200, {}, b'{"error": "daily quota exceeded"}'))
    assert "daily quota exceeded" in str(error)


def test_a_login_in_netrc_is_not_sent(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("default login builder password not-for-them\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    _, answers = _answered(world, monkeypatch, (200, {}, EMPTY), auth="bearer")
    assert answers.asked[0][0]["authorization"] == f"Bearer {emulator.TOKEN}"
    _, answers = _answered(world, monkeypatch, (200, {}, EMPTY))
    assert "authorization" not in answers.asked[0][0]


def test_products_keep_their_ids_and_versions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    products = [{"id": "000000000000012345", "name": "Firewall OS 10.1.2.3"}, {"id": "0612345678", "name": "by a@b.co"}]
    world.add_activities(activity(1, products=products))
    (record,) = _read(_hook(world, monkeypatch))
    assert record["products"] == [products[0], {"id": "0612345678", "name": "by [e-mail removed]"}]
