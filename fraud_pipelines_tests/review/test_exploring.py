"""Looking around: search, filters and order, all of a customer or device, and what a case was opened from."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.decisions.payment_filters import Filters, read_filters
from fraud_pipelines.decisions.payment_list import read_payments
from fraud_pipelines.decisions.review import record_verdict
from fraud_pipelines.decisions.shared_entities import HUB, read_neighbourhood
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.plan.files import plan_of
from fraud_pipelines_tests.review.conftest import Client, served
from fraud_pipelines_tests.review.samples import NOW, Decided, store

DECLARED = """
attributes:
  currency: {type: text}
  card_id: {type: text, pii: true}
  sort: {type: text, description: "Named like a field of the page."}
entities:
  card:
    key: card_id
    aggregates:
      - {how: count, over: 1h}
"""
HOSTILE = "'; DROP TABLE raw.transactions; --<b>"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return plan_of(tmp_path_factory.mktemp("plan"), DECLARED)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> Warehouse:
    """A ring: three customers on one device, one of whose payments is a known fraud; a merchant that all use."""
    folder: Path = tmp_path_factory.mktemp("explored")
    warehouse = open_warehouse(folder / "fraud.duckdb", plan=plan, wait_seconds=20)
    crowd = [
        Decided(f"c{n:03}", user_id=f"crowd-{n}", merchant_id="mall", device_fingerprint=f"own-{n}", amount=7.0)
        for n in range(HUB + 20)
    ]
    ring = [
        Decided(
            "r1", 100.0, 0.9, "block", "ann", 1.0, device_fingerprint="dev", merchant_id="mall", reason="rule:stolen"
        ),
        Decided("r2", 200.0, 0.7, "review", "bob", 1.1, device_fingerprint="dev", merchant_id="mall", country="RO"),
        Decided("r3", 300.0, 0.6, "review", "cas", 1.2, device_fingerprint="dev", merchant_id="shop", country="RO"),
        Decided("r4", 400.0, 0.8, "review", "cas", 1.3, device_fingerprint="old", merchant_id="shop"),
        Decided("r5", 5.0, 0.2, "approve", "ann", 8.0, device_fingerprint="dev", merchant_id=HOSTILE),
    ]
    store(warehouse, [*crowd, *ring])
    store(warehouse, [Decided("r5", score=0.3, decision="approve", channel="stream", days_ago=8.0)])
    with warehouse.transaction() as connection:
        connection.update("raw.transactions", "currency = 'EUR', card_id = 'card-' || user_id, sort = 'pos'", "true")
        insert(connection, "raw.base_currency", warehouse.read("SELECT 'EUR' AS currency"))
    record_verdict(warehouse, "r4", actual_fraud=True, now=NOW, reviewer="ann", named_by="login")
    return warehouse


@pytest.fixture(scope="module")
def pages(stored: Warehouse, plan: Plan) -> Iterator[Client]:
    with served(stored, plan=plan) as port:
        yield Client(port)


def shown(page: str) -> list[str]:
    """The transactions or values that a list links to, in order."""
    return [part.split(">", 1)[1].split("<", 1)[0] for part in page.split('<a class="case"')[1:]]


def test_a_search_finds_whatever_begins_with_the_text(pages: Client) -> None:
    exact = pages.get("/search?q=r1")
    assert (exact.status, exact.headers["location"]) == (303, "/case?id=r1")
    assert shown(pages.get("/search?q=R").text)[:5] == ["r1", "r2", "r3", "r4", "r5"]
    crowd = pages.get("/search?q=crowd").text
    assert f'customer <span class="quiet">{HUB + 20} found</span>' in crowd
    assert len(shown(crowd)) == 8
    assert shown(pages.get("/search?q=card-ann").text) == ["card-ann"]
    assert shown(pages.get("/search?q=pos").text) == ["pos"]
    for nothing in ("zzz", HOSTILE + "x", "%", "_"):
        assert "No payment has a value that begins with" in pages.get("/search?" + urlencode({"q": nothing})).text
    assert shown(pages.get("/search?" + urlencode({"q": HOSTILE})).text) == [
        HOSTILE.replace("'", "&#39;").replace("<b>", "&lt;b&gt;")
    ]
    assert pages.get("/search?q=" + "x" * 300).status == 400


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["r3", "r2", "r1"]),
        ("decision=block", ["r1"]),
        ("rule=stolen", ["r1"]),
        ("by_country=RO", ["r3", "r2"]),
        ("by_country=RO&least=250", ["r3"]),
        ("most=100", ["r1"]),
        ("by_user_id=cas", ["r3"]),
        ("by_sort=pos&channel=batch&decision=review", ["r3", "r2"]),
        ("channel=stream", []),
        ("sort=amount", ["r3", "r2", "r1"]),
        ("sort=newest", ["r1", "r2", "r3"]),
        ("sort=oldest", ["r3", "r2", "r1"]),
        ("by_merchant_id=" + HOSTILE, []),
    ],
)
def test_the_queue_is_narrowed_and_sorted(pages: Client, query: str, found: list[str]) -> None:
    page = pages.get("/?" + urlencode(dict(part.split("=", 1) for part in query.split("&") if part)))
    assert page.status == 200
    assert shown(page.text) == found


def test_payments_are_narrowed_by_what_is_known_of_them(pages: Client, stored: Warehouse) -> None:
    assert shown(pages.get("/payments?known=fraud").text) == ["r4"]
    page = pages.get("/payments?by_user_id=ann&sort=oldest").text
    assert shown(page) == ["r5", "r1"]
    assert "<strong>2</strong> meet the filters" in page
    assert "EUR" in page
    assert shown(pages.get("/payments?channel=stream").text) == ["r5"]
    everything = pages.get("/payments?least=0").text
    assert len(shown(everything)) == 25
    assert f"1–25 of {HUB + 25}" in everything
    assert "page=2" in everything
    assert len(shown(pages.get("/payments?least=0&page=3").text)) == HUB + 25 - 50
    assert pages.get("/payments?least=0&page=9").headers["location"] == "/payments?least=0"
    [last_day] = {
        payment.timestamp.date() for payment in read_payments(stored, Filters(known="fraud"), limit=9).payments
    }
    assert last_day == (NOW - timedelta(days=1.3)).date()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=2026-13-45", "from"),
        ("from=2026-11-02&to=2026-11-01", "to"),
        ("least=many", "least"),
        ("least=nan", "least"),
        ("least=3&most=2", "most"),
        ("decision=perhaps", "decision"),
        ("sort=luck", "sort"),
        ("by_nothing=1", "nothing"),
        ("by_country=" + "x" * 300, "by_country"),
        ("by_country=a%0Ab", "by_country"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_named(pages: Client, query: str, field: str) -> None:
    for path in ("/?", "/payments?"):
        page = pages.get(path + query)
        assert page.status == 400
        assert field in page.text
    assert pages.get("/case?id=r1&" + query).status == 200


def test_filters_survive_their_own_query(plan: Plan) -> None:
    asked = {"from": "2026-11-01", "to": "2026-11-02", "least": "1234567.89", "rule": "a", "by_country": "RO & co"}
    filters = read_filters(asked, plan)
    assert filters.query == asked
    assert read_filters(filters.query, plan) == filters
    with pytest.raises(InvalidInput, match="most"):
        read_filters({"most": "inf"}, plan)


def test_an_entity_shows_what_it_shares_with_whom(pages: Client, stored: Warehouse, plan: Plan) -> None:
    near = read_neighbourhood(stored, plan, "user_id", "cas")
    of = {(each.standing.column, each.standing.value): each for each in near.shared}
    device = of["device_fingerprint", "dev"]
    assert {other.value for other in device.others} == {"ann", "bob"}
    assert (of["device_fingerprint", "old"].standing.known_frauds, device.number_of_others) == (1, 2)
    ann = read_neighbourhood(stored, plan, "user_id", "ann")
    [mall] = [each for each in ann.shared if each.standing.value == "mall"]
    assert mall.is_hub
    assert mall.others == ()
    page = pages.get("/entity?column=user_id&value=cas").text
    assert shown(page) == ["r3", "r4"]
    assert '<svg class="network"' in page
    for value in ("dev", "old", "ann", "bob", "card-cas"):
        assert f">{value}<" in page
    by_country = pages.get("/entity?column=country&value=RO").text
    assert shown(by_country) == ["r2", "r3"]
    assert '<svg class="network"' not in by_country
    hostile = pages.get("/entity?" + urlencode({"column": "merchant_id", "value": HOSTILE}))
    assert shown(hostile.text) == ["r5"]
    assert "<b>" not in hostile.text
    for column, value in (("nothing", "x"), ("amount", "5"), ("user_id", "nobody"), ('user_id" --', "cas")):
        assert pages.get("/entity?" + urlencode({"column": column, "value": value})).status == 404
    assert stored.read("SELECT count(*) FROM raw.transactions").item() == HUB + 25


def test_a_case_shows_what_is_declared_and_links_to_who_took_part(pages: Client) -> None:
    page = pages.case("r1").text
    assert "<h1>100.00 EUR" in page
    for column, value in (("user_id", "ann"), ("device_fingerprint", "dev"), ("card_id", "card-ann")):
        assert f'href="/entity?column={column}&amp;value={value}"' in page
    assert "square-root scale" in page
    assert "by ann" in pages.case("r4").text
    assert "(typed)" not in pages.case("r4").text


def test_a_case_is_told_from_those_that_came_after_it(pages: Client) -> None:
    early = pages.case("r5").text
    assert early.count('class="dot alert after"') == 1
    assert early.count('<rect class="later"') == 1
    assert '<rect class="later"' not in pages.case("r1").text
    assert pages.case("r1").text.count(' after"') == 0
