"""The stream detector: which model scores what follows from counts, however the transactions come."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.detection.groups import Grouping
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.streaming.detector import SCREENING_COLUMNS, StreamDetector, stream_schema
from fraud_pipelines.streaming.settings import DetectorSettings, StreamSettings
from fraud_pipelines_tests.examples import examples

SMALL = DetectorSettings(min_samples=20, retrain_interval=30, window_size=50, contamination=0.05)
ROWS = 300


def features(rows: int = ROWS, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame({name: rng.lognormal(3, 1, rows) for name in stream_schema()})


@pytest.fixture(scope="module")
def expected() -> pl.DataFrame:
    return StreamDetector(SMALL).screen(features()).rows


def test_it_collects_at_first_and_says_how_many_more_it_needs(expected: pl.DataFrame) -> None:
    collecting = expected.filter(pl.col("status") == "collecting")

    assert collecting["samples_until_ready"].to_list() == list(range(19, -1, -1))
    assert collecting["score"].null_count() == 20
    assert not collecting["is_anomaly"].any()
    scored = expected.slice(20)
    assert (scored["status"] == "scored").all()
    assert scored["score"].is_between(0, 1).all()
    assert (scored["samples_until_ready"] == 0).all()


def test_each_transaction_is_scored_by_the_model_of_the_window_that_ended_before_it(expected: pl.DataFrame) -> None:
    rows = features()
    for position in range(20, ROWS, 9):
        begun = int(expected["model_version"][position])
        assert begun <= position
        model = FraudModel.fit(
            rows[max(begun - 50, 0) : begun],
            backend="ecod",
            schema=stream_schema(),
            contamination=0.05,
            normalization="extended_tail",
            groups=Grouping(frozenset({"amount"}), rows[:0]),
        )
        score = model.score(rows[position : position + 1])
        assert score["raw_score"][0] == expected["raw_score"][position]
        assert score["score"][0] == expected["score"][position]
    # 20 at once, then every 30, each of them 30 / 5 transactions after it began to learn.
    changes = [at for at, (one, next_) in enumerate(pairwise(expected["model_version"].slice(20))) if one != next_]
    assert [at + 21 for at in changes] == [56, 86, 116, 146, 176, 206, 236, 266, 296]
    assert expected["model_version"].unique().drop_nulls().sort().to_list() == list(range(20, ROWS, 30))


@examples(40)
@given(st.lists(st.integers(0, ROWS), max_size=6), st.data())
def test_portions_and_restarts_change_no_bit(expected: pl.DataFrame, cuts: list[int], data: st.DataObject) -> None:
    rows = features()
    detector = StreamDetector(SMALL)
    said: list[tuple[object, ...]] = []
    for start, end in pairwise(sorted({0, *cuts, ROWS})):
        if data.draw(st.booleans()):
            detector = StreamDetector(SMALL, state=detector.state())
        if data.draw(st.booleans()):
            said += _one_by_one(detector, rows[start:end])
        else:
            said += _said(detector.screen(rows[start:end]).rows)
    assert said == _said(expected)


def test_one_by_one_is_the_same(expected: pl.DataFrame) -> None:
    rows = features()
    assert _one_by_one(StreamDetector(SMALL), rows) == _said(expected)
    detector = StreamDetector(SMALL)
    assert pl.concat([detector.screen(rows[k : k + 1]).rows for k in range(ROWS)]).equals(expected)


def test_twenty_thousand_transactions_in_one_process_or_in_twenty() -> None:
    rows = features(20_000)
    whole = StreamDetector().screen(rows).rows
    state = None
    parts = []
    for k in range(20):
        detector = StreamDetector(state=state)
        parts.append(detector.screen(rows[k * 1_000 : (k + 1) * 1_000]).rows)
        state = detector.state()
    assert pl.concat(parts).equals(whole)
    assert state is not None
    assert state.window.height <= 10_000 + 1_000 + 200


def test_about_the_contamination_scores_above_one_half_and_a_little_more_is_flagged() -> None:
    scored = StreamDetector().screen(features(20_000)).rows.slice(1_000)

    assert 0.005 < (scored["score"] > 0.5).mean() < 0.02  # type: ignore[operator]
    assert 0.0075 < scored["is_anomaly"].mean() < 0.025  # type: ignore[operator]
    assert (scored["is_anomaly"] == (scored["score"] > 0.4)).all()


def test_a_schema_with_labels_and_ids_survives_a_restart() -> None:
    schema = {"amount": "numeric", "country": "label", "merchant_id": "hash", "is_night": "binary"}
    rows = features().select(
        "amount",
        country=pl.Series(["DE", "FR", None] * 100),
        merchant_id=pl.Series([f"m{k % 17}" for k in range(ROWS)]),
        is_night=pl.Series([0, 1] * 150, dtype=pl.Int8),
    )
    whole = StreamDetector(SMALL, schema=schema).screen(rows).rows
    first = StreamDetector(SMALL, schema=schema)
    head = first.screen(rows[:123]).rows
    tail = StreamDetector(SMALL, schema=schema, state=first.state()).screen(rows[123:]).rows
    assert pl.concat([head, tail]).equals(whole)
    assert _one_by_one(StreamDetector(SMALL, schema=schema), rows) == _said(whole)


def _one_by_one(detector: StreamDetector, rows: pl.DataFrame) -> list[tuple[object, ...]]:
    screened = [detector.screen_one(row) for row in rows.iter_rows(named=True)]
    return [(row.status, row.samples_until_ready, row.score, row.is_anomaly, row.model_version) for row in screened]


def _said(rows: pl.DataFrame) -> list[tuple[object, ...]]:
    return rows.select("status", "samples_until_ready", "score", "is_anomaly", "model_version").rows()


def test_no_rows_and_missing_columns() -> None:
    detector = StreamDetector(SMALL)

    assert detector.screen(features()[:0]).rows.schema == pl.Schema(SCREENING_COLUMNS)
    with pytest.raises(InvalidInput, match="user_z"):
        detector.screen(features().drop("user_z"))
    with pytest.raises(InvalidInput, match="user_z"):
        detector.screen_one({"amount": 1.0})
    with pytest.raises(InvalidInput, match="amount = 'much'"):
        detector.screen_one({**features().row(0, named=True), "amount": "much"})
    assert detector.seen == 0


def test_a_state_that_lacks_rows_is_refused() -> None:
    detector = StreamDetector(SMALL)
    detector.screen(features())
    state = detector.state()
    with pytest.raises(InvalidInput, match="needs the latest 86"):
        StreamDetector(SMALL, state=type(state)(state.seen, state.window.tail(10)))


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_STREAM_MIN_SAMPLES", "50")
    monkeypatch.setenv("FRAUD_STREAM_COMMIT_ROWS", "77")
    read = StreamSettings.from_environment()
    assert (read.detector.min_samples, read.commit_rows) == (50, 77)

    monkeypatch.setenv("FRAUD_STREAM_CONTAMINATION", "0.7")
    with pytest.raises(InvalidInput, match=r"FRAUD_STREAM_CONTAMINATION='0.7'"):
        StreamSettings.from_environment()
    monkeypatch.setenv("FRAUD_STREAM_CONTAMINATION", "0.1")
    monkeypatch.setenv("FRAUD_STREAM_WINDOW_SIZE", "10")
    with pytest.raises(InvalidInput, match="window_size 10 lies below min_samples 50"):
        StreamSettings.from_environment()
