"""The backtest page: it says what the shell says, changes nothing, and takes no harm from what is typed."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlencode

import polars as pl
import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.decisions.columns import columns_of
from fraud_pipelines.decisions.configuration import typed_rule
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hard_rules import HardRules
from fraud_pipelines.decisions.log import record_decisions
from fraud_pipelines.decisions.policies import initial_thresholds, policy_named
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.evaluation.backtest_run import Trial, run_backtest
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.stored_days import day, make_warehouse
from fraud_pipelines_tests.lakes import ON_LAKE
from fraud_pipelines_tests.review.conftest import Answer, Client, served

ASKED = {"try": "1", "from": str(day(0)), "to": str(day(1)), "decision": "review"}
COLUMNS = columns_of(shipped_plan())


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Two days of decided payments, the stored scores of which are their decisions' too."""
    made = make_warehouse(tmp_path_factory.mktemp("trying") / "fraud.duckdb", days=2)
    warehouse = open_warehouse(made.path, plan=shipped_plan(), wait_seconds=20)
    policy = policy_named("balanced")
    for number in range(2):
        decided = warehouse.read(
            "SELECT transaction_id, event_date, 'approve' AS decision FROM features.transaction_features "
            "WHERE event_date = ?",
            [day(number)],
        ).with_columns(
            score=pl.lit(0.3),
            reason=pl.lit("below_review_threshold"),
            reason_codes=pl.lit([], dtype=pl.List(pl.String)),
            model_versions=pl.lit(["fraud-daily/1"]),
            policy=pl.lit("balanced"),
            review_threshold=pl.lit(0.5),
            block_threshold=pl.lit(0.8),
        )
        engine = DecisionEngine(policy, initial_thresholds(policy, day(number)))
        record_decisions(warehouse, decided, engine=engine, day=day(number), channel="batch", now=datetime(2026, 10, 1))
    return warehouse


@pytest.fixture(scope="module")
def pages(stored: Warehouse) -> Iterator[Client]:
    with served(stored) as port:
        yield Client(port)


def tried(pages: Client, **fields: str) -> Answer:
    return pages.get("/backtest?" + urlencode(ASKED | fields))


def test_a_typed_rule_is_tried_and_no_byte_is_changed(pages: Client, stored: Warehouse) -> None:
    file = not ON_LAKE
    before = hashlib.sha256(stored.path.read_bytes()).hexdigest() if file else ""
    page = tried(pages, when="amount: {above: 60}")
    assert page.status == 200
    rules = HardRules(rules=(typed_rule("amount: {above: 60}", "review", COLUMNS),))
    settings = Settings(data_dir=stored.path.parent)
    [effect] = run_backtest(stored, settings, shipped_plan(), Trial(day(0), day(1), rules=rules)).each
    assert effect.hits.number == stored.read("SELECT count(*) FROM raw.transactions WHERE amount > 60").item() > 0
    assert f'data-label="Payments">{effect.hits.number:,}</td>' in page.text
    assert f"<strong>{effect.alerts_per_day:,.1f}</strong>" in page.text
    assert str(effect.counter_examples[0]["transaction_id"]) in page.text
    assert "<textarea" in page.text
    assert "amount: {above: 60}</textarea>" in page.text
    if file:
        assert hashlib.sha256(stored.path.read_bytes()).hexdigest() == before


def test_without_a_rule_in_force_the_page_asks_for_one(pages: Client) -> None:
    assert "of which there are none" in pages.get("/backtest").text
    assert "no rule is in force" in tried(pages).text


def test_rules_in_force_are_tried(pages: Client, stored: Warehouse) -> None:
    file = stored.path.parent / "rules.yaml"
    file.write_text("rules:\n  - {name: large, decision: review, expires: 2027-01-01, when: {amount: {above: 60}}}\n")
    try:
        assert ">large <span" in tried(pages).text
        file.write_text("rules: 3\n")
        broken = pages.get("/backtest")
        assert (broken.status, "expected the key rules" in broken.text) == (400, True)
    finally:
        file.unlink()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"when": "amont: 1"}, "did you mean amount?"),
        ({"when": "amount: RO"}, "amount is a number"),
        ({"when": "amount: {in_file: /etc/passwd}"}, "is no such field"),
        ({"when": "just words"}, "a column and its condition on each line"),
        ({"when": "amount: &a {above: 1}\nuser_z: *a"}, "aliases"),
        ({"when": "[" * 3000}, "too deep"),
        ({"when": "amount: 2026-13-45"}, "amount is a number, and"),
        ({"when": "amount: {above: 1" + "0" * 3900 + "}"}, "amount"),
        ({"when": "amount: !!python/object/apply:os.system [ls]"}, "no valid YAML"),
        ({"when": "x" * 5000}, "write at most 4,000"),
        ({"when": "<script>: 1"}, "&lt;script&gt;"),
        ({"when": "amount: 1", "decision": "<b>"}, "&lt;b&gt;"),
        ({"when": "amount: 1", "from": "soon"}, "is no day"),
        ({"when": "amount: 1", "from": str(day(1)), "to": str(day(0))}, "lies before from"),
        ({"when": "amount: 1", "channel": "pigeon"}, "none of batch, stream"),
        ({"when": "amount: 1", "channel": "stream"}, "nothing was decided"),
        ({"policy": "nobody"}, "no policy is named"),
        ({"review": "high"}, "is no threshold"),
        ({"review": "1.5"}, "thresholds lie from 0 to 1"),
        ({"review": "nan"}, "thresholds lie from 0 to 1"),
    ],
)
def test_what_cannot_be_tried_is_named(pages: Client, fields: dict[str, str], words: str) -> None:
    page = tried(pages, **fields)
    assert page.status == 400
    assert words in page.text
    assert "<script>:" not in page.text
    assert 'name="try"' in page.text


def test_conditions_are_read_as_under_when() -> None:
    rule = typed_rule("country: [RO, BG]\namount: {above: 100, at_most: 5000}\n", "block", COLUMNS)
    assert rule.when["country"].any_of == ("RO", "BG")
    assert rule.when["amount"].bounds == {"above": 100, "at_most": 5000}
    with pytest.raises(InvalidInput, match="stands twice"):
        typed_rule("amount: 1\namount: 2", "block", COLUMNS)
