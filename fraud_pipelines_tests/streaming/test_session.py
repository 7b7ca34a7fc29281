"""A session that goes on for long: others commit beside it, labels arrive, and a day is derived."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.features.derivation import derive_day
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.streaming.batches import FrameBatch
from fraud_pipelines.streaming.session import StreamSession
from fraud_pipelines.transactions.verdicts import store_labels
from fraud_pipelines_tests.conftest import assert_same_content
from fraud_pipelines_tests.streaming.samples import SMALL, YESTERDAY, Stream, now, results, traffic

TEN_DAYS = timedelta(days=10)


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    return Stream(tmp_path / "data").prepare()


def batches(rows: pl.DataFrame, size: int = 50) -> list[FrameBatch]:
    return [
        FrameBatch(f"b{number}", "library", rows.slice(number * size, size)) for number in range(rows.height // size)
    ]


def commit_by_turns(sessions: Iterable[StreamSession], coming: Iterable[FrameBatch]) -> None:
    for session, batch in zip(sessions, coming, strict=True):
        session.commit([batch], now=now())


def test_sessions_that_take_turns_leave_what_one_alone_would(stream: Stream, tmp_path: Path) -> None:
    coming = batches(traffic(300))
    one, other = stream.session(), stream.session()
    commit_by_turns([one, other, other, one, one, other], coming)

    alone = Stream(tmp_path / "alone").prepare()
    commit_by_turns([alone.session()] * 6, coming)

    features = stream.warehouse.read("FROM streaming.transaction_features ORDER BY position")
    assert features["position"].to_list() == list(range(300))
    assert_same_content(results(stream), results(alone))


def test_a_label_counts_soon_after_it_has_arrived(stream: Stream) -> None:
    rows = traffic(100)
    earlier = rows.with_columns(pl.col("transaction_id") + "-earlier", pl.col("timestamp") - TEN_DAYS)
    session, at = stream.session(), now()
    session.commit([FrameBatch("earlier", "library", earlier)], now=at)
    commit = batches(rows)
    session.commit([commit[0]], now=at)
    frauds = earlier.select(
        "transaction_id",
        actual_fraud=pl.lit(True),
        source=pl.lit("chargeback"),
        known_at=pl.col("timestamp") + timedelta(days=1),
    )
    with stream.warehouse.transaction() as connection:
        store_labels(connection, frauds, now=at)
    session.commit([commit[1]], now=at + timedelta(minutes=6))

    counted = stream.warehouse.read(
        "SELECT batch_id, max(user_fraud_count_30d) FROM streaming.transaction_features GROUP BY ALL"
    )
    most = dict(counted.iter_rows())
    assert most["b0"] == 0
    assert most["b1"] > 0


def test_feedback_features_go_on_when_a_day_has_been_derived_meanwhile(stream: Stream) -> None:
    rows = traffic(100)
    earlier = rows.with_columns(pl.col("transaction_id") + "-earlier", pl.col("timestamp") - TEN_DAYS)
    session, at = stream.session(), now()
    session.commit([FrameBatch("earlier", "library", earlier)], now=at)
    commit = batches(rows)
    session.commit([commit[0]], now=at)
    derive_day(stream.warehouse, YESTERDAY - TEN_DAYS, plan=shipped_plan())
    session.commit([commit[1]], now=at)

    known = stream.warehouse.read(
        "SELECT batch_id, count(merchant_risk_30d) FROM streaming.transaction_features GROUP BY ALL"
    )
    assert dict(known.iter_rows())["b1"] > 0


RULES = """
rules:
  - name: everything
    decision: block
    expires: 2099-12-31
    when: {amount: {at_least: 0}}
"""


def test_rules_that_change_hold_from_the_next_commit_on(stream: Stream) -> None:
    session, (first, second) = stream.session(), batches(traffic(100))
    session.commit([first], now=now())
    (stream.data_dir / "rules.yaml").write_text(RULES)
    session.commit([second], now=now())

    blocked = stream.decisions().filter(pl.col("decision") == "block")
    assert set(blocked["transaction_id"]) == set(second.rows["transaction_id"])


@pytest.mark.parametrize("threshold", [0.0, 0.1])
def test_the_streams_own_threshold_says_what_is_screened_further(tmp_path: Path, threshold: float) -> None:
    detector = SMALL.detector.model_copy(update={"threshold": threshold})
    stream = Stream(tmp_path, SMALL.model_copy(update={"detector": detector})).prepare()
    stream.session().commit(batches(traffic(150)), now=now())

    scored = stream.decisions().filter(pl.col("reason") != "collecting")
    further = scored.filter(pl.col("reason") != "below_screening_threshold")
    assert further["transaction_id"].to_list() == scored.filter(pl.col("score") > threshold)["transaction_id"].to_list()
    assert further["score"].min() < 0.4, "the policy's own, above which the day asks further"  # type: ignore[operator]
