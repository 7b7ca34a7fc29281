"""The audit sample: who is drawn, with what probability, and what the log keeps of it."""

import math
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.audit import audit_decisions
from fraud_pipelines.decisions.audit_sample import AUDIT, AUDIT_SCORE, LEAST_SHARE, draw_sample
from fraud_pipelines.decisions.chain_walk import MOST_FINDINGS
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hash_chain import ENTRY_SCHEMA, canonical
from fraud_pipelines.decisions.log import CONTENT, record_decisions
from fraud_pipelines.decisions.policies import initial_thresholds, policy_named
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse

DAY = date(2026, 10, 1)
NOW = datetime(2026, 10, 2, 0, 31)
POLICY = policy_named("balanced").model_copy(update={"audit_per_day": 20.0})
ENGINE = DecisionEngine(POLICY, initial_thresholds(POLICY, DAY))
SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=60)


def candidates(payments: int = 600) -> pl.DataFrame:
    """Most score low, one in ten is alerted."""
    scores = (np.arange(payments) % 100 / 100) ** 3
    return pl.DataFrame(
        {
            "transaction_id": [f"t{number:04}" for number in range(payments)],
            "screening_score": scores,
            "second_stage_score": scores,
        }
    )


def drawn(rows: pl.DataFrame, engine: DecisionEngine = ENGINE) -> tuple[DecisionEngine, pl.DataFrame]:
    engine = engine.with_audit_drawn(rows, engine.decide(rows), model="")
    return engine, engine.decide(rows)


@given(SCORES, st.floats(0.5, 80))
def test_every_payment_may_be_drawn_the_riskier_the_likelier_and_as_many_as_asked_for(
    scores: list[float], size: float
) -> None:
    of_each = np.array(sorted(scores))
    draw = draw_sample(of_each, size, seed=0, model="")
    assert draw is not None
    probability = draw.probability(of_each)
    assert probability.min() > 0
    assert probability.max() <= 1
    assert (np.diff(probability) >= 0).all()
    assert math.fsum(probability) == pytest.approx(min(size, len(scores)))
    if probability.max() < 1:
        assert probability.min() >= LEAST_SHARE / (1 + LEAST_SHARE) * probability.mean() * (1 - 1e-9)


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(random: object) -> None:
    rows = candidates(120)
    order = list(range(rows.height))
    random.shuffle(order)  # type: ignore[attr-defined]
    (engine, decided), (other, shuffled) = drawn(rows), drawn(rows[order])
    assert engine.thresholds == other.thresholds
    assert shuffled.sort("transaction_id").equals(decided)
    cut = pl.concat([engine.decide(rows[:50]), engine.decide(rows[50:])])
    assert cut.equals(decided)


def test_the_drawn_are_approved_all_the_same_and_alerts_stand_apart() -> None:
    plain = DecisionEngine(policy_named("balanced"), ENGINE.thresholds).decide(candidates())
    _, decided = drawn(candidates())
    assert decided.drop(AUDIT).equals(plain)
    alerts = decided.filter(pl.col("decision") != "approve")
    assert alerts.height
    assert alerts.select(AUDIT).null_count().row(0) == (alerts.height, alerts.height)
    approved = decided.filter(decision="approve")
    assert approved["audit_probability"].sum() == pytest.approx(20)
    assert 5 <= approved["audited"].sum() <= 40


def test_so_many_are_drawn_on_average_and_others_by_another_seed() -> None:
    sizes, ids = [], set()
    for seed in range(60):
        policy = POLICY.model_copy(update={"audit_seed": seed})
        _, decided = drawn(candidates(), DecisionEngine(policy, ENGINE.thresholds))
        sizes.append(int(decided["audited"].sum()))
        ids.add(tuple(decided.filter("audited")["transaction_id"]))
    # Of 60 samples the mean of a Poisson number of 20 has a standard error of 0.58.
    assert abs(np.mean(sizes) - 20) < 2.5
    assert len(ids) == 60


def test_the_score_of_another_model_tells_the_risk_where_there_is_one() -> None:
    rows = candidates()
    turned = rows.with_columns((1 - pl.col("screening_score")).alias(AUDIT_SCORE))
    engine = ENGINE.with_audit_drawn(turned, ENGINE.decide(turned), model="fraud-supervised")
    approved = engine.decide(turned).filter(decision="approve").sort("score")["audit_probability"].to_numpy()
    assert (np.diff(approved) <= 0).all()
    assert engine.thresholds.audit is not None
    assert engine.thresholds.audit.model == "fraud-supervised"


def test_a_policy_without_a_sample_has_the_hashes_and_columns_it_had() -> None:
    engine = DecisionEngine(policy_named("balanced"), ENGINE.thresholds)
    assert not {"audit_per_day", "audit_seed", "audit_blind"} & set(policy_named("balanced").model_dump())
    assert "audit" not in engine.thresholds.model_dump()
    assert not set(AUDIT) & set(engine.decide(candidates()).columns)
    # The text of an entry as releases before the audit sample had it, whose hashes must still be right.
    entry = pl.DataFrame([dict.fromkeys(ENTRY_SCHEMA) | {"plan_version": "p", "revision": 1}], schema=ENTRY_SCHEMA)
    assert canonical(entry).item() == "~~1:1," + "~" * 14 + "1:p,"


def test_a_policy_says_what_is_wrong_with_its_sample() -> None:
    with pytest.raises(ValueError, match="audit_per_day"):
        POLICY.model_validate(POLICY.model_dump() | {"audit_per_day": -1})


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    return warehouse


def record(warehouse: Warehouse, engine: DecisionEngine, decided: pl.DataFrame, hours: int) -> tuple[int, int, int]:
    rows = decided.with_columns(
        event_date=DAY,
        reason_codes=pl.lit([], dtype=pl.List(pl.String)),
        model_versions=pl.lit(["fraud-daily/1"]),
    )
    found = record_decisions(
        warehouse,
        rows.select(*CONTENT, *(set(AUDIT) & set(rows.columns))),
        engine=engine,
        day=DAY,
        channel="batch",
        now=NOW + timedelta(hours=hours),
    )
    return found.new, found.revised, found.withdrawn


def test_a_rerun_draws_the_same_and_a_late_payment_revises_no_more_than_the_sample(warehouse: Warehouse) -> None:
    first = candidates()[1:]
    assert record(warehouse, *drawn(first), 0) == (599, 0, 0)
    before = warehouse.read("SELECT * FROM scoring.decisions ORDER BY ALL")
    assert record(warehouse, *drawn(first), 1) == (0, 0, 0)
    assert warehouse.read("SELECT * FROM scoring.decisions ORDER BY ALL").equals(before)

    engine, later = drawn(candidates())
    new, revised, withdrawn = record(warehouse, engine, later, 2)
    assert (new, withdrawn) == (1, 0)
    assert 0 < revised <= int(before["audited"].sum()) + int(later["audited"].sum())
    audited = "SELECT transaction_id, audit_probability FROM scoring.decisions WHERE audited ORDER BY ALL"
    assert warehouse.read(audited).rows() == later.filter("audited").select("transaction_id", AUDIT[1]).rows()
    assert audit_decisions(warehouse).findings == ()


def test_a_sample_begun_or_ended_later_leaves_the_other_decisions_alone(warehouse: Warehouse) -> None:
    rows = candidates()
    plain = DecisionEngine(policy_named("balanced"), ENGINE.thresholds)
    assert record(warehouse, plain, plain.decide(rows), 0) == (600, 0, 0)
    engine, decided = drawn(rows)
    sample = int(decided["audited"].sum())
    assert record(warehouse, engine, decided, 1) == (0, sample, 0)
    assert record(warehouse, plain, plain.decide(rows), 2) == (0, sample, 0)
    assert audit_decisions(warehouse).findings == ()


def test_the_audit_finds_a_payment_that_somebody_kept_out_of_the_sample(warehouse: Warehouse) -> None:
    engine, decided = drawn(candidates())
    record(warehouse, engine, decided, 0)
    with warehouse.transaction() as connection:
        connection.execute("UPDATE scoring.decisions SET audited = false WHERE audited")
    assert len(audit_decisions(warehouse).findings) == min(decided["audited"].sum(), MOST_FINDINGS + 1)


def test_what_is_drawn_waits_for_a_verdict_as_alerts_do(warehouse: Warehouse) -> None:
    engine, decided = drawn(candidates())
    record(warehouse, engine, decided, 0)
    with warehouse.transaction() as connection:
        connection.execute(
            """
            INSERT INTO raw.transactions BY NAME
            SELECT transaction_id, 'u' AS user_id, TIMESTAMP '2026-10-01' AS timestamp, event_date, 10.0 AS amount,
                   'test' AS source, TIMESTAMP '2026-10-02' AS ingested_at
            FROM scoring.decisions
            """
        )
    waiting = warehouse.read("SELECT transaction_id, audited FROM scoring.review_queue")
    assert set(waiting.filter("audited")["transaction_id"]) == set(decided.filter("audited")["transaction_id"])
    assert waiting.filter(~pl.col("audited")).height == decided.filter(pl.col("decision") != "approve").height


def test_scores_outside_their_range_are_refused_before_anything_is_drawn() -> None:
    with pytest.raises(InvalidInput, match="no usable score"):
        drawn(candidates().with_columns(screening_score=pl.lit(1.5)))
