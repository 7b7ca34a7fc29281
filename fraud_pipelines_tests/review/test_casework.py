"""Cases on the page: listed by value, worked by two people at once, judged, and exported."""

import json
from datetime import timedelta

import pytest

from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.lakes import ON_LAKE
from fraud_pipelines_tests.locks import held_elsewhere
from fraud_pipelines_tests.review.conftest import Answer, Client
from fraud_pipelines_tests.review.samples import AWKWARD, NOW, Decided, store

TOMORROW = f"{NOW + timedelta(days=1):%Y-%m-%dT%H:%M}"


def take(client: Client, reviewer: str = "anna") -> Answer:
    return client.send(client.get("/cases").form("/cases/next") | {"reviewer": reviewer}, "/cases/next")


def do(client: Client, page: str, action: str, **fields: str) -> Answer:
    form = client.get(page).form("/cases/do")
    kept = {name: form[name] for name in ("case_id", "seen", "token")}
    sent = {"action": action} if action not in ("fraud", "legitimate", "unclear") else {"outcome": action}
    return client.send(kept | sent | {"reviewer": "anna"} | fields, "/cases/do")


def page_of(client: Client, value: str) -> str:
    """The address of the case of a customer, as the list links it."""
    before, _, _ = client.get("/cases").text.partition(f">{value}</a>")
    return before.rpartition('href="')[2].partition('"')[0]


def labels(warehouse: Warehouse) -> dict[str, bool]:
    return dict(warehouse.read("SELECT transaction_id, actual_fraud FROM feedback.labels").iter_rows())


def events(warehouse: Warehouse) -> list[str]:
    return warehouse.read("SELECT action FROM feedback.case_events ORDER BY sequence")["action"].to_list()


def test_a_case_is_taken_judged_and_the_next_one_is_there(client: Client, warehouse: Warehouse) -> None:
    listed = client.get("/cases").text
    assert listed.index(">u1</a>") < listed.index(">u2</a>")
    taken = take(client)
    page = taken.headers["location"]
    text = client.get(page).text
    assert "anna works on it until" in text
    assert "amount is 40×" in text
    assert "<script>alert" not in text
    done = do(client, page, "fraud", note="card <b>stolen</b>")
    assert done.status == 303
    assert labels(warehouse) == {"big": True, AWKWARD: True, "small": True}
    following = client.get(done.headers["location"]).text
    assert "This is the next one, and yours" in following
    assert ">u2</a>" in following
    closed = client.get(page).text
    assert "card &lt;b&gt;stolen" in closed
    assert ">u1</a>" in client.get("/cases?shown=closed").text
    done = do(client, done.headers["location"].partition("&")[0], "legitimate")
    assert done.headers["location"].startswith("/cases?done=")
    assert "No other case is left" in client.get(done.headers["location"]).text
    assert take(client).headers["location"] == "/cases?done=none"


def test_a_verdict_is_on_the_payments_that_are_ticked(client: Client, warehouse: Warehouse) -> None:
    page = page_of(client, "u1")
    form = client.get(page).form("/cases/do")
    assert [form[f"payment-{place}"] for place in (1, 2, 3)] == ["big", AWKWARD, "small"]
    assert do(client, page, "fraud", chooses="1").status == 400
    assert do(client, page, "fraud", chooses="1", **{"payment-2": AWKWARD}).headers["location"] == page
    assert labels(warehouse) == {AWKWARD: True}
    assert do(client, page, "legitimate", chooses="1", **{"payment-1": "big", "payment-3": "small"}).status == 303
    assert labels(warehouse) == {AWKWARD: True, "big": False, "small": False}


def test_two_reviewers_at_once_never_overwrite_each_other(port: int, warehouse: Warehouse) -> None:
    anna, ben = Client(port), Client(port)
    page = page_of(anna, "u1")
    seen_by_ben = ben.get(page).form("/cases/do")
    taken = take(anna).headers["location"]
    assert taken == page
    assert take(ben, "ben").headers["location"] == page_of(ben, "u2")
    refused = ben.send(seen_by_ben | {"reviewer": "ben", "outcome": "legitimate", "note": "<i>mine</i>"}, "/cases/do")
    assert refused.status == 409
    assert "anna works on the case until" in refused.text
    assert "&lt;i&gt;mine" in refused.text
    assert "anna until" in ben.get("/cases").text
    # Ben may note; Anna's page is not out of date by it.
    annas = anna.get(page).form("/cases/do")
    assert do(ben, page, "note", reviewer="ben", note="I know him").status == 303
    assert anna.send(annas | {"reviewer": "anna", "outcome": "fraud"}, "/cases/do").status == 303
    late = ben.send(seen_by_ben | {"reviewer": "ben", "outcome": "legitimate"}, "/cases/do")
    assert late.status in (400, 409)
    assert set(labels(warehouse).values()) == {True}


def test_everything_can_be_done_to_a_case(client: Client, warehouse: Warehouse) -> None:
    page = page_of(client, "u2")
    for action, fields in (
        ("claim", {}),
        ("note", {"note": "two\r\nlines"}),
        ("tag", {"tag": "card-testing"}),
        ("due", {"until": TOMORROW}),
        ("wait", {"note": "asked the bank", "until": TOMORROW}),
        ("resume", {}),
        ("escalate", {"note": "a ring"}),
        ("claim", {}),
        ("release", {}),
        ("untag", {"tag": "card-testing"}),
        ("unclear", {}),
        ("reopen", {"note": "they called"}),
    ):
        if action == "untag":
            assert ">u2</a>" in client.get("/cases?tag=card-testing").text
        assert do(client, page, action, **fields).status == 303, action
    text = client.get(page).text
    for told in ("two\nlines", "asked the bank", "set the due time", "escalated", "they called"):
        assert told in text
    assert events(warehouse)[-4:] == ["untagged", "closed", "claimed", "reopened"]


@pytest.mark.parametrize(
    ("action", "fields", "status", "told"),
    [
        ("claim", {"reviewer": " "}, 400, "Fill in your name"),
        ("claim", {"reviewer": "x" * 200}, 400, "at most 100 characters"),
        ("due", {"until": "2001-01-01T00:00"}, 400, "lies before the payment"),
        ("due", {"until": "tomorrow"}, 400, "is no day and time"),
        ("wait", {"until": "2001-01-01T00:00", "note": "x"}, 400, "lies in the past"),
        ("note", {"note": "x" * 10_000}, 400, "has 10,000 characters"),
        ("note", {"note": ""}, 400, "can&#39;t be empty"),
        ("tag", {"tag": "Card Testing"}, 400, "small letters"),
        ("fraud", {"chooses": "1", "payment-1": "t00"}, 400, "does not wait in this case"),
        ("maybe", {}, 400, "with the buttons"),
        ("claim", {"token": "x"}, 403, "expired"),
        ("claim", {"case_id": "x"}, 403, "expired"),
        ("claim", {"seen": "x"}, 403, "expired"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_stored(
    client: Client, warehouse: Warehouse, action: str, fields: dict[str, str], status: int, told: str
) -> None:
    answer = do(client, page_of(client, "u1"), action, **fields)
    assert (answer.status, told in answer.text) == (status, True), answer.text
    assert (events(warehouse), labels(warehouse)) == ([], {})


def test_a_form_of_another_site_changes_nothing(client: Client, warehouse: Warehouse) -> None:
    form = client.get("/cases").form("/cases/next") | {"reviewer": "anna"}
    assert client.send(form, "/cases/next", Origin="http://evil.example").status == 403
    assert client.send(form | {"token": ""}, "/cases/next").status == 403
    assert client.get("/cases/next").status == 405
    assert events(warehouse) == []


def test_what_is_not_there_is_said(client: Client) -> None:
    assert client.get("/cases?shown=all").status == 400
    assert client.get("/cases/case?id=nothing").status == 404
    assert client.get("/cases/export?id=nothing").status == 404
    assert client.get("/cases?page=9").headers["location"] == "/cases?shown=open"


def test_a_case_is_exported(client: Client) -> None:
    page = page_of(client, "u1")
    do(client, page, "note", note="a note")
    case_id = page.partition("id=")[2]
    answer = client.get(f"/cases/export?id={case_id}&form=json")
    assert answer.headers["content-disposition"] == f'attachment; filename="case-{case_id}.json"'
    content = json.loads(answer.text)
    assert [each["note"] for each in content["events"]] == ["a note"]
    html = client.get(f"/cases/export?id={case_id}&form=html").text
    assert content["events"][0]["entry_hash"] in html
    assert client.get(f"/cases/export?id={case_id}&form=pdf").status == 400


def test_a_payment_leads_to_its_case(client: Client) -> None:
    page = take(client).headers["location"]
    text = client.case("big").text
    assert f'href="{page}"' in text
    assert "anna works on it" in text


@pytest.mark.skipif(ON_LAKE, reason="nobody locks a lake")
@pytest.mark.parametrize("patience", [0.5])
def test_what_has_to_wait_is_shown_and_sent_again(client: Client, warehouse: Warehouse, patience: float) -> None:
    page = page_of(client, "u1")
    form = client.get(page).form("/cases/do") | {"reviewer": "anna", "outcome": "fraud", "note": "<i>kept</i>"}
    with held_elsewhere(warehouse.path):
        waits = client.send(form, "/cases/do")
        assert waits.status == 503
        assert "<q>&lt;i&gt;kept" in waits.text
    assert client.send(waits.form("/cases/do"), "/cases/do").status == 303
    assert len(labels(warehouse)) == 3


def test_many_payments_of_one_case_are_chosen(client: Client, warehouse: Warehouse) -> None:
    store(warehouse, [Decided(f"many-{n:03}", 10.0, 0.6, "review", user_id="u7") for n in range(150)])
    page = page_of(client, "u7")
    form = client.get(page).form("/cases/do")
    assert client.send(form | {"reviewer": "anna", "outcome": "fraud"}, "/cases/do").status == 303
    assert len(labels(warehouse)) == 150
