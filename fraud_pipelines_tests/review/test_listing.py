"""Lists on the page: put on from a case, an entity or the page of lists, told beside them, and taken off."""

from datetime import UTC, datetime, timedelta

import pytest

from fraud_pipelines.decisions.entity_lists import read_entries
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.lakes import ON_LAKE
from fraud_pipelines_tests.locks import held_elsewhere
from fraud_pipelines_tests.review.conftest import Answer, Client

TODAY = datetime.now(UTC).date()


def put(client: Client, page: str, **changed: str) -> Answer:
    form = client.get(page).form("/lists/add")
    return client.send(form | {"list": "block", "reason": "card stolen", "reviewer": "anna"} | changed, "/lists/add")


def test_a_customer_is_blocked_from_a_case_and_taken_off_again(client: Client, warehouse: Warehouse) -> None:
    done = put(client, "/case?id=big&sort=amount", about="user_id:u1")
    assert (done.status, done.headers["location"]) == (303, "/case?id=big&sort=amount")
    [entry] = read_entries(warehouse)
    assert (entry.list_name, entry.column_name, entry.value, entry.author) == ("block", "user_id", "u1", "anna")
    assert (entry.author_named_by, entry.expires) == ("typed", TODAY + timedelta(days=90))
    for page in ("/case?id=big", "/entity?column=user_id&value=u1", "/lists"):
        text = client.get(page).text
        assert "card stolen" in text
        assert "(typed)" in text
    assert "card stolen" not in client.case("block").text
    form = client.get("/lists").form("/lists/remove")
    assert client.send(form | {"reviewer": "ben"}, "/lists/remove").headers["location"] == "/lists"
    assert "card stolen" not in client.get("/lists").text
    assert f"off on {TODAY} by ben" in client.get("/lists?ended=1").text
    assert client.send(form | {"reviewer": "ben"}, "/lists/remove").status == 400


def test_any_declared_column_can_be_listed_and_text_is_escaped(client: Client, warehouse: Warehouse) -> None:
    hostile = "<script>x</script>'; --"
    assert put(client, "/lists", list="watch", column="city", value=hostile, reason="<b>odd</b>").status == 303
    assert put(client, "/entity?column=country&value=DE", about="country:DE", list="allow").status == 303
    page = client.get("/lists").text
    assert "&lt;b&gt;odd" in page
    assert "<script>x" not in page
    assert {(each.list_name, each.value) for each in read_entries(warehouse)} == {("watch", hostile), ("allow", "DE")}


def test_a_rule_is_silenced_for_somebody(client: Client, warehouse: Warehouse) -> None:
    assert "snooze" not in client.case("big").text
    rules = warehouse.path.parent / "rules.yaml"
    rules.write_text("rules:\n  - {name: large, decision: review, expires: 2099-01-01, when: {amount: {above: 60}}}\n")
    assert put(client, "/case?id=big", list="snooze", about="user_id:u1", rule="large").status == 303
    assert "for the rule large" in client.case("big").text
    assert [each.rule for each in read_entries(warehouse)] == ["large"]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"token": "x"}, 403),
        ({"reviewer": " "}, 400),
        ({"reason": ""}, 400),
        ({"reason": "x" * 10_000}, 400),
        ({"list": "grey"}, 400),
        ({"about": "amount:5"}, 400),
        ({"about": "user_id:"}, 400),
        ({"expires": "soon"}, 400),
        ({"expires": "2020-01-01"}, 400),
        ({"expires": "9999-01-01"}, 400),
    ],
)
def test_what_cannot_be_stored_is_refused_whole(
    client: Client, warehouse: Warehouse, changed: dict[str, str], status: int
) -> None:
    answer = put(client, "/case?id=big", **({"about": "user_id:u1"} | changed))
    assert answer.status == status
    assert read_entries(warehouse) == []


def test_a_form_of_another_site_or_page_changes_nothing(client: Client, warehouse: Warehouse) -> None:
    form = client.case("big").form("/lists/add") | {
        "list": "block",
        "about": "user_id:u1",
        "reason": "x",
        "reviewer": "a",
    }
    for headers in ({"Origin": "http://evil.example"}, {"Origin": ""}, {"Cookie": ""}):
        assert client.send(form, "/lists/add", **headers).status == 403
    assert client.send(form | {"token": client.case("big").fields["token"]}, "/lists/add").status == 403
    assert client.get("/lists/add").status == 405
    assert client.send(form | {"back": "//evil.example/case?"}, "/lists/add").headers["location"] == "/lists"
    assert len(read_entries(warehouse)) == 1


@pytest.mark.skipif(ON_LAKE, reason="nobody locks a lake")
@pytest.mark.parametrize("patience", [0.5])
def test_an_entry_that_has_to_wait_is_shown_and_sent_again(
    client: Client, warehouse: Warehouse, patience: float
) -> None:
    form = client.case("big").form("/lists/add")
    sent = form | {"list": "block", "about": "user_id:u1", "reason": "<i>kept</i>", "reviewer": "anna"}
    with held_elsewhere(warehouse.path):
        waits = client.send(sent, "/lists/add")
        assert waits.status == 503
        assert "<q>&lt;i&gt;kept" in waits.text
    assert client.send(waits.form("/lists/add"), "/lists/add").status == 303
    assert [each.reason for each in read_entries(warehouse)] == ["<i>kept</i>"]
