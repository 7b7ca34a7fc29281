"""Shadow in the stream: it decides what it would in force, however the stream is cut, and changes nothing."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.decisions.configuration import policy_in_force, rules_in_force
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hard_rules import HardRules
from fraud_pipelines.decisions.policies import POLICIES, Policy, initial_thresholds
from fraud_pipelines.decisions.shadow import NO_SHADOWS, ShadowPolicy, Shadows
from fraud_pipelines.decisions.shadow_records import DAYS, DECISIONS
from fraud_pipelines.detection.daily_models import LoadedModel
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.evaluation.backtest_run import Trial, run_backtest
from fraud_pipelines.evaluation.rule_backtest import shadow_effect
from fraud_pipelines.evaluation.stored_days import StoredDays
from fraud_pipelines.features.live import LiveHistories
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.streaming.batches import FrameBatch
from fraud_pipelines.streaming.detector import StreamDetector
from fraud_pipelines.streaming.screener import Screened, Screener
from fraud_pipelines_tests.streaming.samples import SMALL, YESTERDAY, Stream, now, results, traffic

BALANCED = POLICIES["balanced"]
STRICT = POLICIES["high_security"].model_copy(update={"second_stage": "fraud-supervised", "gate": False})
RULES = """
rules:
  - {name: stop, decision: block, expires: 2100-01-01, when: {amount: {above: 400}}}
  - {name: look, decision: review, expires: 2100-01-01, shadow: true, when: {amount: {above: 30}}}
"""


def engine(policy: Policy) -> DecisionEngine:
    return DecisionEngine(policy, initial_thresholds(policy, YESTERDAY))


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return traffic(300, users=20)


@pytest.fixture(scope="module")
def models(rows: pl.DataFrame) -> dict[str, LoadedModel]:
    """Of each name a model of its own."""
    features = LiveHistories().fold(rows)
    shares = {"fraud-ensemble": 0.05, "fraud-supervised": 0.2}
    return {
        name: LoadedModel(name, 1, FraudModel.fit(features, backend="ecod", contamination=share))
        for name, share in shares.items()
    }


def screened(rows: pl.DataFrame, models: dict[str, LoadedModel], policy: Policy, shadows: Shadows) -> Screened:
    gated = policy.model_copy(update={"second_stage": "fraud-ensemble"}) if policy.second_stage == "best" else policy
    made = Screener(
        LiveHistories(),
        StreamDetector(SMALL.detector),
        lambda _day: engine(gated),
        models.get,
        lambda _day: shadows,
    )
    return made.screen(rows)


def test_a_policy_in_shadow_decides_what_it_would_in_force_and_changes_nothing(
    rows: pl.DataFrame, models: dict[str, LoadedModel]
) -> None:
    shadows = Shadows(policies=(ShadowPolicy(engine(STRICT)),))
    beside, plain = (screened(rows, models, BALANCED, each) for each in (shadows, NO_SHADOWS))
    assert beside.scores.equals(plain.scores)
    assert beside.decisions.equals(plain.decisions)
    assert plain.shadow.days.is_empty()
    columns = ("transaction_id", "decision", "score", "reason")
    live = screened(rows, models, STRICT, NO_SHADOWS).decisions
    told = beside.shadow.decisions
    assert told["decision"].n_unique() > 1
    of_these = live.join(told.select("transaction_id"), on="transaction_id", how="semi", maintain_order="left")
    assert told.select(columns).equals(of_these.select(columns))
    others = pl.concat([live, plain.decisions]).join(told, on="transaction_id", how="anti")
    assert set(others["decision"]) == {"approve"}


def stream_of(folder: Path, rules: str) -> Stream:
    stream = Stream(folder).prepare()
    (folder / "rules.yaml").write_text(rules)
    return stream


def commit(stream: Stream, rows: pl.DataFrame, size: int) -> None:
    session = stream.session()
    for number in range(rows.height // size):
        session.commit([FrameBatch(f"b{number}", "library", rows.slice(number * size, size))], now=now())


def test_a_rule_in_shadow_equals_its_backtest_however_the_stream_is_cut(rows: pl.DataFrame, tmp_path: Path) -> None:
    live = "\n".join(line for line in RULES.splitlines() if "shadow" not in line)
    stream, coarse, plain = (
        stream_of(tmp_path / name, text) for name, text in (("fine", RULES), ("coarse", RULES), ("plain", live))
    )
    for made, size in ((stream, 50), (coarse, 150), (plain, 50)):
        commit(made, rows, size)
    kept = [
        {
            table: made.warehouse.read(f"SELECT * EXCLUDE decided_at FROM {table} ORDER BY ALL")
            for table in (DAYS, DECISIONS)
        }
        for made in (stream, coarse)
    ]
    assert kept[0][DAYS].equals(kept[1][DAYS])
    assert kept[0][DECISIONS].equals(kept[1][DECISIONS])
    assert int(kept[0][DAYS]["payments"].sum()) == rows.height
    with_shadow, without = results(stream), results(plain)
    for table in without.keys() - {DAYS, DECISIONS}:
        assert (
            with_shadow[table]
            .drop("decided_at", "scored_at", "ingested_at", "first_used_at", strict=False)
            .equals(without[table].drop("decided_at", "scored_at", "ingested_at", "first_used_at", strict=False))
        ), table

    days = kept[0][DAYS]["event_date"]
    first, last = days.min(), days.max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    settings = stream.settings
    stored = StoredDays(
        stream.warehouse,
        first,
        last,
        channel="stream",
        policy=policy_in_force(settings),
        unreported_share=settings.unreported_share,
    )
    look = HardRules(rules=rules_in_force(settings).in_shadow)
    trial = Trial(first, last, channel="stream", rules=look)
    [expected] = run_backtest(stream.warehouse, settings, shipped_plan(), trial).each
    assert shadow_effect(stored, "rule", "look") == expected
    assert expected.new_alerts.number > 0
