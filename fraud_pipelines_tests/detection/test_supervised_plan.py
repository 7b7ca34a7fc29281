"""What a supervised model is trained on: what is known to be so, and nothing that nobody has judged."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from fraud_pipelines.detection.daily_models import current_feature_version
from fraud_pipelines.detection.detectors.boosted_trees import BoostedTreesParameters
from fraud_pipelines.detection.supervised import LABEL, WEIGHT
from fraud_pipelines.detection.supervised_plan import SupervisedTraining
from fraud_pipelines.features.frames import read_features
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.stored_days import FRAUDS, ROWS, day, make_warehouse

DELAY = 4
ON = day(12)
LEARNER = SupervisedTraining(
    declared=shipped_plan(),
    parameters=BoostedTreesParameters(max_iter=30),
    contamination=0.02,
    label_delay_days=DELAY,
    min_frauds=10,
    sample_rows=100_000,
    training_days=6,
)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """13 days; every fraud is charged back after two days."""
    return make_warehouse(tmp_path / "fraud.duckdb", days=13)


def store(warehouse: Warehouse, verdicts: dict[str, bool], known_at: datetime) -> None:
    labels = pl.DataFrame({"transaction_id": [*verdicts], "actual_fraud": [*verdicts.values()]}).with_columns(
        source=pl.lit("review"), known_at=pl.lit(known_at), ingested_at=pl.lit(known_at)
    )
    with warehouse.transaction() as connection:
        insert(connection, "feedback.labels", labels)


def test_verdicts_are_learned_from_as_soon_as_they_are_known(warehouse: Warehouse) -> None:
    morning = datetime.combine(ON, datetime.min.time())
    store(warehouse, {"t08-150": False, "t10-003": True, "t11-004": True}, morning - timedelta(hours=1))
    store(warehouse, {"t10-005": True}, morning)
    plan = LEARNER.plan(warehouse, ON)
    young = plan.features.filter(pl.col("event_date") > day(7))
    frauds = {f"t{number:02}-{row:03}" for number in (8, 9) for row in range(FRAUDS)} | {"t10-003"}
    assert {*young.filter(LABEL)["transaction_id"]} == frauds
    # The verdict of the day before is not learned from, and one that is known this morning comes too late.
    assert {*young["transaction_id"]} == frauds | {"t08-150"}
    assert plan.window.days == tuple(day(number) for number in range(2, 8))
    assert plan.rows_in_window == 6 * ROWS + len(frauds) + 1
    # Anchored on are all of the days since, what was judged included.
    assert plan.calibration is not None
    assert plan.calibration.height == DELAY * ROWS


def test_where_all_is_judged_at_once_scores_are_anchored_on_the_day_before(warehouse: Warehouse) -> None:
    ids = read_features(warehouse, day(8), day(11))["transaction_id"]
    store(warehouse, dict.fromkeys(ids, False), datetime.combine(ON, datetime.min.time()) - timedelta(hours=1))
    plan = LEARNER.plan(warehouse, ON)
    assert plan.calibration is not None
    assert plan.calibration["event_date"].unique().to_list() == [day(11)]
    assert plan.features["event_date"].max() == day(10)


def test_an_audited_row_stands_for_those_that_are_not_there(warehouse: Warehouse) -> None:
    """Of 1/p payments: a fraud that nobody reported, and where only verdicts tell, any."""
    probabilities = {"t04-150": 0.25, "t04-151": 0.5, "t05-003": 0.25, "t05-152": 0.001, "t06-153": 0.25}
    drawn = pl.DataFrame({"transaction_id": [*probabilities], "audit_probability": [*probabilities.values()]})
    assert WEIGHT not in LEARNER.plan(warehouse, ON).features.columns
    before = LEARNER.inputs(warehouse, ON)
    with warehouse.transaction() as connection:
        insert(
            connection,
            "scoring.decisions",
            drawn.with_columns(
                event_date=pl.col("transaction_id").str.slice(1, 2).cast(pl.Int64).map_elements(day, pl.Date),
                channel=pl.lit("batch"),
                decision=pl.lit("approve"),
                score=pl.lit(0.1),
                reason=pl.lit("below_review_threshold"),
                reason_codes=pl.lit([], dtype=pl.List(pl.String)),
                policy=pl.lit("balanced"),
                review_threshold=pl.lit(0.5),
                block_threshold=pl.lit(0.8),
                model_versions=pl.lit(["fraud-daily/1"]),
                decided_at=pl.lit(datetime(2026, 9, 20)),
                audited=pl.lit(value=True),
            ),
        )
    morning = datetime.combine(ON, datetime.min.time())
    found = {"t04-150": True, "t04-151": False, "t05-003": True, "t05-152": True}
    store(warehouse, found, morning - timedelta(hours=1))

    def weights() -> dict[str, float]:
        rows = LEARNER.plan(warehouse, ON).features.select("transaction_id", WEIGHT)
        assert rows[WEIGHT].min() == 1
        return dict(rows.filter(pl.col("transaction_id").is_in([*probabilities])).iter_rows())

    # t05-003 was charged back as well, t06-153 has not been reviewed, and no row stands for more than a hundred.
    assert weights() == {"t04-150": 4.0, "t04-151": 1.0, "t05-003": 1.0, "t05-152": 100.0, "t06-153": 1.0}
    assert LEARNER.inputs(warehouse, ON) != before
    plan = LEARNER.plan(warehouse, ON)
    alone = replace(plan, features=plan.features.drop(WEIGHT))
    assert plan.fingerprint(plan.schema()[0], "") != alone.fingerprint(alone.schema()[0], "")
    with warehouse.transaction() as connection:
        connection.execute("UPDATE raw.transactions SET judged_only = true WHERE transaction_id LIKE 't04%'")
    assert weights() == {"t04-150": 4.0, "t04-151": 2.0, "t05-003": 1.0, "t05-152": 100.0, "t06-153": 1.0}


def test_of_many_transactions_every_known_fraud_is_kept(warehouse: Warehouse) -> None:
    plan = replace(LEARNER, sample_rows=100).plan(warehouse, ON)
    assert plan.features[LABEL].sum() == (6 + 2) * FRAUDS
    assert plan.features.filter(~pl.col(LABEL)).height < 200
    assert plan.rows_in_window == 6 * ROWS + 2 * FRAUDS


def test_what_nobody_has_judged_is_no_legitimate_payment(warehouse: Warehouse) -> None:
    """Two thirds of the payments, of another kind than the rest, are never judged: their frauds look legitimate."""
    with warehouse.transaction() as connection:
        connection.execute("DELETE FROM feedback.labels")
        connection.execute(
            """
            UPDATE features.transaction_features
            SET merchant_tx_count_24h = if(row % 40 < 3 OR row > 140, 0, 9), user_z = user_z + if(row < $frauds, 1, 0)
            FROM (
                SELECT transaction_id AS id, substr(transaction_id, 5)::INTEGER AS row
                FROM features.transaction_features
            )
            WHERE id = transaction_id
            """,
            {"frauds": FRAUDS},
        )
    ids = read_features(warehouse, day(0), day(12))["transaction_id"].to_list()
    truth = {name: int(name[4:]) < FRAUDS for name in ids}
    judged = {name: truth[name] for name in ids if int(name[4:]) % 40 < 3 or int(name[4:]) > 140}
    store(warehouse, judged, datetime.combine(ON, datetime.min.time()) - timedelta(hours=1))

    def average_precision() -> tuple[int, float]:
        plan = replace(LEARNER, parameters=BoostedTreesParameters(max_iter=100)).plan(warehouse, ON)
        schema, _ = plan.schema()
        model = plan.fit(schema, current_feature_version(schema, plan.declared))
        rows = pl.concat(read_features(warehouse, of, of) for of in (day(0), day(1), day(11), ON))
        is_fraud = np.array([truth[name] for name in rows["transaction_id"]])
        return plan.features.height, average_precision_score(is_fraud, model.score(rows)["raw_score"].to_numpy())

    waited, as_legitimate = average_precision()
    with warehouse.transaction() as connection:
        connection.execute("UPDATE raw.transactions SET judged_only = true")
    labelled, judged_alone = average_precision()
    assert labelled == sum(1 for name in judged if day(2) <= day(int(name[1:3])) <= day(10)) < waited
    assert judged_alone > as_legitimate + 0.1
