"""The evening's look back on a real warehouse: every model and channel, young days apart, and nothing of tomorrow."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.evaluation.daily_performance import (
    Measured,
    measure_performance,
    store_performance,
    tune_thresholds,
)
from fraud_pipelines.evaluation.early import early_reading
from fraud_pipelines.evaluation.proposals import put_in_effect
from fraud_pipelines.evaluation.report import daily_report
from fraud_pipelines.evaluation.scenarios import UNNAMED, scenario_recall
from fraud_pipelines.evaluation.summaries import POLICY_PREFIX
from fraud_pipelines.evaluation.windows import window_of
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.samples import FIRST, filled_warehouse, forget_after, outcomes, random_outcomes

DAY = FIRST + timedelta(days=24)
SETTINGS = Settings(label_delay_days=7, evaluation_days=10)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return filled_warehouse(tmp_path)


def row_of(rows: pl.DataFrame, model_name: str, channel: str = "batch") -> dict[str, object]:
    return rows.filter(model_name=model_name, channel=channel).row(0, named=True)


def measured_and_stored(warehouse: Warehouse, day: date = DAY) -> Measured:
    measured = measure_performance(warehouse, SETTINGS, day)
    store_performance(warehouse, measured, day)
    return measured


def test_every_model_that_scored_is_measured_by_channel_and_the_policy_too(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        connection.execute(
            "INSERT INTO scoring.transaction_scores BY NAME SELECT * REPLACE ('fraud-realtime' AS model_name, "
            "'stream' AS channel) FROM scoring.transaction_scores WHERE model_name = 'fraud-daily'"
        )
        connection.execute(
            "INSERT INTO scoring.decisions BY NAME SELECT * REPLACE ('stream' AS channel, 'review' AS decision) "
            "FROM scoring.decisions WHERE score > 0.3"
        )

    measured = measured_and_stored(warehouse)

    keys = [
        ("fraud-daily", "batch"),
        ("fraud-ensemble", "batch"),
        ("fraud-realtime", "stream"),
        (POLICY_PREFIX + "balanced", "batch"),
        (POLICY_PREFIX + "balanced", "stream"),
    ]
    assert measured.rows.select("model_name", "channel").rows() == keys
    assert measured.early.select("model_name", "channel").rows() == keys
    by_batch, by_stream = (row_of(measured.rows, POLICY_PREFIX + "balanced", each) for each in ("batch", "stream"))
    assert by_stream["alerts"] == by_stream["transactions"]
    assert by_batch["transactions"] == 400
    stored = warehouse.read("SELECT * FROM monitoring.model_performance ORDER BY ALL")
    assert stored.height == len(keys)
    measured_and_stored(warehouse)
    assert warehouse.read("SELECT * FROM monitoring.model_performance ORDER BY ALL").equals(stored)


def test_alerts_a_day_and_coverage_are_shares_of_what_is_counted(warehouse: Warehouse) -> None:
    for row in measure_performance(warehouse, SETTINGS, DAY).rows.iter_rows(named=True):
        assert row["alerts_per_day"] == pytest.approx(row["alerts"] / 10)
        assert row["label_coverage"] == pytest.approx(row["labelled"] / row["transactions"])
        assert 0 < row["alerts_labelled"] <= row["alerts"]
        for figure in ("f1", "value_detection_rate", "cost"):
            assert row[figure + "_low"] <= row[figure] <= row[figure + "_high"]


def test_days_that_have_not_matured_are_read_apart(warehouse: Warehouse) -> None:
    measured = measured_and_stored(warehouse)
    for rows, first, last in ((measured.rows, 16, 7), (measured.early, 6, 0)):
        assert rows["window_start"].unique().to_list() == [DAY - timedelta(days=first)]
        assert rows["window_end"].unique().to_list() == [DAY - timedelta(days=last)]
    early = warehouse.read("SELECT * FROM monitoring.early_performance")
    assert early["as_of"].unique().to_list() == [DAY]
    assert "early_precision" in measured.headline


def test_where_labels_take_no_time_there_are_no_young_days(warehouse: Warehouse) -> None:
    measured = measure_performance(warehouse, Settings(label_delay_days=0, evaluation_days=10), DAY)
    assert measured.early.is_empty()
    assert measured.rows.height == 3


def test_before_anything_has_matured_there_is_only_the_early_reading(warehouse: Warehouse) -> None:
    measured = measured_and_stored(warehouse, FIRST + timedelta(days=3))
    assert measured.rows.is_empty()
    assert measured.early.height == 3


def test_an_early_precision_is_that_of_labelled_alerts_within_what_it_may_become() -> None:
    window = random_outcomes(1, rows=2000, days=7)
    # Of the alerts, every third has been looked at.
    young = window.with_row_index().with_columns(labelled=pl.col("index") % 3 == 0)
    young = young.with_columns(is_fraud=pl.col("is_fraud") & pl.col("labelled"))
    reading = early_reading(window_of(young))
    seen = young.filter("alert", "labelled")
    assert reading.alerts_labelled == seen.height
    assert reading.precision == pytest.approx(seen["is_fraud"].mean())
    truth = window.filter("alert")["is_fraud"].mean()
    assert isinstance(truth, float)
    assert reading.precision_at_least is not None
    assert reading.precision_at_most is not None
    assert reading.precision_at_least < truth < reading.precision_at_most
    nothing = early_reading(window_of(outcomes([(0, 0, 0.9, 0.0, 10.0, True, None)])))
    assert (nothing.precision, nothing.precision_at_least, nothing.precision_at_most) == (None, 0.0, 1.0)


def test_the_table_of_days_the_performance_and_the_evidence_of_the_threshold_agree(warehouse: Warehouse) -> None:
    """Of one window, here a single day, whoever tells it."""
    settings = SETTINGS.model_copy(update={"evaluation_days": 1, "label_delay_days": 10})
    day = FIRST + timedelta(days=29)
    store_performance(warehouse, measure_performance(warehouse, settings, day), day)
    policy = POLICY_PREFIX + "balanced"
    [stored] = warehouse.read(
        "SELECT * FROM monitoring.model_performance WHERE as_of = ? AND model_name = ?", [day, policy]
    ).to_dicts()
    window = stored["window_start"]
    [shown] = daily_report(
        warehouse, window, window, label_delay_days=10, unreported_share=settings.unreported_share, as_of=day
    ).to_dicts()
    evidence = tune_thresholds(warehouse, settings, day).proposal.thresholds.evidence["decided"]

    assert isinstance(evidence, dict)
    figures = ("precision", "recall", "recall_low", "recall_high", "recall_lower_bound", "chargebacks_reported")
    assert stored["recall"] is not None
    assert stored["recall_low"] < stored["recall"] < stored["recall_high"]
    for name in figures:
        assert shown[name] == pytest.approx(stored[name], abs=1e-12), name
        assert evidence[name] == stored[name], name


def test_the_alert_budget_is_that_of_all_payments_also_where_few_are_judged(warehouse: Warehouse) -> None:
    of_all = tune_thresholds(warehouse, SETTINGS, DAY).proposal
    with warehouse.transaction() as connection:
        connection.execute("UPDATE raw.transactions SET judged_only = true")
    of_judged = tune_thresholds(warehouse, SETTINGS, DAY).proposal
    assert of_judged.alert_budget == of_all.alert_budget > 0
    assert of_judged.alerts_per_day_bounds == of_all.alerts_per_day_bounds


def test_recall_is_told_by_nobody_while_chargebacks_are_to_come(warehouse: Warehouse) -> None:
    day = FIRST + timedelta(days=12)
    measured = measured_and_stored(warehouse, day)
    unknown = ("recall", "recall_low", "recall_high", "f1", "average_precision", "value_detection_rate", "cost")
    for row in measured.rows.iter_rows(named=True):
        assert row["frauds"] > 0
        assert {row[name] for name in unknown} == {None}
        assert row["precision"] is not None
    evidence = tune_thresholds(warehouse, SETTINGS, day).proposal.thresholds.evidence
    assert evidence["objective"] == "alert_budget"
    assert "chargebacks_to_come" in str(evidence["guards"])
    for figures in (evidence["before"], evidence["after"], evidence["decided"]):
        assert isinstance(figures, dict)
        assert (figures["recall"], figures["f1"], figures["cost"]) == (None, None, None)
    days = daily_report(warehouse, FIRST, day, label_delay_days=7, as_of=day)
    assert days.filter(pl.col("event_date") > day - timedelta(days=5))["recall"].null_count() == 5


def test_recall_by_kind_of_fraud_where_labels_name_it(warehouse: Warehouse) -> None:
    assert measure_performance(warehouse, SETTINGS, DAY).by_scenario.is_empty()
    with warehouse.transaction() as connection:
        connection.execute(
            "UPDATE feedback.labels SET scenario = 'card_testing' WHERE actual_fraud AND transaction_id LIKE '%1'"
        )

    measured = measured_and_stored(warehouse)

    of_policy = measured.by_scenario.filter(model_name=POLICY_PREFIX + "balanced")
    assert of_policy["scenario"].to_list() == ["card_testing", UNNAMED]
    whole = row_of(measured.rows, POLICY_PREFIX + "balanced")
    assert of_policy["frauds"].sum() == whole["frauds"]
    assert of_policy["caught"].sum() <= of_policy["frauds"].sum()
    # By kind as over all, a fraud that is known late stands for those still to come.
    assert of_policy["recall"].min() <= whole["recall"] <= of_policy["recall"].max()  # type: ignore[operator]
    assert warehouse.read("SELECT count(*) FROM monitoring.scenario_performance").item() == measured.by_scenario.height


def test_a_kind_counts_what_was_caught_of_it() -> None:
    frame = outcomes([(0, 0, 0.9, 0.0, 10.0, True, True), (0, 1, 0.1, 0.0, 30.0, False, True)])
    kinds = pl.DataFrame({"transaction_id": ["t0", "t1", "t9"], "scenario": ["ramp"] * 3})
    [found] = scenario_recall(frame, kinds).to_dicts()
    assert found == {"scenario": "ramp", "frauds": 2, "caught": 1, "recall": 0.5, "amount": 40.0, "amount_caught": 10.0}


def test_thresholds_and_performance_as_of_a_day_are_the_same_when_all_later_data_is_deleted(
    warehouse: Warehouse,
) -> None:
    tables = ("model_performance", "early_performance", "decision_thresholds")

    def as_known() -> tuple[object, ...]:
        """Two evenings, the second from the thresholds that the first one left."""
        with warehouse.transaction() as connection:
            for table in tables:
                connection.execute(f"DELETE FROM monitoring.{table}")
        evidence = []
        for day in (DAY - timedelta(days=1), DAY):
            measured_and_stored(warehouse, day)
            tuned = tune_thresholds(warehouse, SETTINGS, day)
            put_in_effect(warehouse, tuned.proposal.thresholds, tuned.current, mode="auto", day=day)
            evidence.append(tuned.proposal.thresholds.evidence)
        return evidence, *(warehouse.read(f"SELECT * FROM monitoring.{table} ORDER BY ALL").rows() for table in tables)

    before = as_known()
    evidence = before[0]
    assert isinstance(evidence, list)
    assert {each["objective"] for each in evidence} == {"min_cost"}
    forget_after(warehouse, DAY)
    assert as_known() == before


def draw_audit_sample(warehouse: Warehouse, *, frauds: int) -> None:
    """A tenth of what was approved and nobody reviewed is drawn, and reviewed on the day after; of what nobody reports
    so many turn out to be frauds. The days had been decided before: what wasn't drawn keeps its row as it was."""
    with warehouse.transaction() as connection:
        connection.execute(
            """
            UPDATE scoring.decisions SET audit_probability = 0.1, audited = true
            WHERE decision = 'approve' AND substr(transaction_id, 6) = '3'
              AND transaction_id NOT IN (SELECT transaction_id FROM feedback.labels WHERE source = 'review')
            """
        )
        connection.execute(
            """
            INSERT INTO feedback.labels BY NAME
            SELECT transaction_id, 'review' AS source,
                   coalesce(l.actual_fraud, row_number() OVER unreported_first <= ?) AS actual_fraud,
                   d.decided_at + INTERVAL 1 DAY AS known_at, d.decided_at + INTERVAL 1 DAY AS ingested_at
            FROM scoring.decisions d LEFT JOIN feedback.labels l USING (transaction_id) WHERE audited
            WINDOW unreported_first AS (ORDER BY l.actual_fraud NULLS FIRST, md5(transaction_id))
            """,
            [frauds],
        )


AUDITED = ("audited", "frauds_let_through", "recall_audited", "value_lost_audited")


@pytest.mark.parametrize("frauds", [0, 12])
def test_an_audit_sample_adds_columns_and_changes_no_other_figure(warehouse: Warehouse, frauds: int) -> None:
    before = measured_and_stored(warehouse)
    untouched = tune_thresholds(warehouse, SETTINGS, DAY).proposal
    draw_audit_sample(warehouse, frauds=frauds)
    after = measured_and_stored(warehouse)

    for table in ("rows", "early", "by_scenario", "probabilities", "reliability"):
        old, new = getattr(before, table), getattr(after, table)
        same = [name for name in old.columns if not name.startswith(AUDITED)]
        assert new.select(same).equals(old.select(same)), table
    assert after.matured_days == before.matured_days
    policy = row_of(after.rows, POLICY_PREFIX + "balanced")
    assert row_of(after.rows, "fraud-daily")["audited"] is None
    let_through = warehouse.read(
        """
        SELECT count(*) FROM scoring.decisions JOIN feedback.labels USING (transaction_id)
        WHERE audited AND source = 'review' AND actual_fraud AND event_date BETWEEN $first AND $last
        """,
        {"first": policy["window_start"], "last": policy["window_end"]},
    ).item()
    assert policy["audited_frauds"] == let_through
    assert policy["frauds_let_through"] == pytest.approx(
        max(10 * let_through, float(str(policy["frauds_let_through"])))
    )
    assert {*after.audited["window_end"]} == {DAY}
    assert after.thresholds_audited.height == 19

    proposal = tune_thresholds(warehouse, SETTINGS, DAY).proposal
    decided = proposal.thresholds.evidence["decided"]
    assert isinstance(decided, dict)
    assert decided["tuned_by_audit"] == (let_through >= 5)
    if not decided["tuned_by_audit"]:
        assert proposal.sweep.equals(untouched.sweep)
