"""Reports: day by day and model by model, with what is known now."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.evaluation.lateness import Reported
from fraud_pipelines.evaluation.metrics import performance
from fraud_pipelines.evaluation.outcomes import last_known_day, matured_scores, reporting_delay
from fraud_pipelines.evaluation.report import daily_report, model_report
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.samples import FIRST, filled_warehouse

LAST = FIRST + timedelta(days=29)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return filled_warehouse(tmp_path_factory.mktemp("report"))


def all_scores(warehouse: Warehouse, first: date, last: date, model_name: str = "fraud-daily") -> pl.DataFrame:
    """The scores of the range with all labels, read as an evaluation far in the future would."""
    delay = 365
    return matured_scores(
        warehouse,
        last + timedelta(days=delay),
        label_delay_days=delay,
        evaluation_days=(last - first).days + 1,
        model_name=model_name,
    )


def reported(warehouse: Warehouse, scores: pl.DataFrame) -> Reported:
    """How many chargebacks are in by now."""
    known_until = last_known_day(warehouse)
    assert known_until is not None
    return reporting_delay(warehouse, known_until).reported_of(scores)


def test_each_day_shows_its_alerts_and_what_is_known_of_them(warehouse: Warehouse) -> None:
    found = daily_report(warehouse, FIRST, LAST, label_delay_days=7, unreported_share=0.3)
    assert found["event_date"].to_list() == [FIRST + timedelta(days=n) for n in range(30)]
    assert found["transactions"].to_list() == [40] * 30
    log = warehouse.read("SELECT * FROM feedback.decision_log").with_columns(alert=pl.col("decision") != "approve")
    for row in found.iter_rows(named=True):
        day = log.filter(pl.col("event_date") == row["event_date"])
        frauds = day["actual_fraud"].fill_null(False)
        assert row["alerts"] == day["alert"].sum()
        assert row["blocked"] == (day["decision"] == "block").sum()
        assert row["reviewed"] == (day["alert"] & day["actual_fraud"].is_not_null()).sum()
        assert row["frauds"] == frauds.sum()
        assert row["caught"] == (frauds & day["alert"]).sum()
        assert row["review_threshold"] == 0.5
        if row["recall"] is None:
            assert row["frauds"] == 0 or row["chargebacks_reported"] < 0.6
            continue
        # What was missed is known late, and stands for those still to come.
        late = row["frauds"] - row["caught"]
        assert row["recall"] <= row["caught"] / row["frauds"]
        assert row["recall_low"] <= row["recall"] <= row["recall_high"]
        assert row["recall"] >= row["caught"] / (row["caught"] + late / row["chargebacks_reported"] + 1e-9) - 1e-9
        assert row["recall_lower_bound"] <= row["recall"]
    assert found["recall"].is_not_null().sum() >= 14


def test_days_whose_labels_have_not_had_their_time_are_marked(warehouse: Warehouse) -> None:
    found = daily_report(warehouse, FIRST, LAST, label_delay_days=7, as_of=LAST)
    assert found.filter("matured")["event_date"].max() == LAST - timedelta(days=7)
    later = daily_report(warehouse, FIRST, LAST, label_delay_days=7)
    assert later["matured"].sum() > found["matured"].sum()
    assert later["frauds"].sum() > found["frauds"].sum()


def test_a_day_that_was_taken_in_but_not_decided_is_shown_empty(tmp_path: Path) -> None:
    warehouse = filled_warehouse(tmp_path, days=3)
    with warehouse.transaction() as connection:
        connection.execute("DELETE FROM scoring.decisions WHERE event_date = ?", [FIRST])
    row = daily_report(warehouse, FIRST, FIRST, label_delay_days=7).row(0, named=True)
    assert (row["transactions"], row["alerts"], row["precision"], row["review_threshold"]) == (40, None, None, None)


def test_each_model_is_judged_by_all_its_scores_in_the_range(warehouse: Warehouse) -> None:
    first, last = FIRST + timedelta(days=14), FIRST + timedelta(days=27)
    found = model_report(warehouse, first, last, k=3)
    assert found["model_name"].to_list() == ["fraud-daily", "fraud-ensemble"]
    for row in found.iter_rows(named=True):
        scores = all_scores(warehouse, first, last, row["model_name"])
        expected = vars(performance(scores, review_cost=0, k=3, reported=reported(warehouse, scores)))
        assert {name: row[name] for name in expected.keys() & row.keys()} == {
            name: expected[name] for name in expected.keys() & row.keys()
        }
        assert row["days"] == 14


def test_the_handbook_protocol_leaves_out_cards_known_to_be_compromised(warehouse: Warehouse) -> None:
    first, last, delay, training = FIRST + timedelta(days=20), FIRST + timedelta(days=26), 5, 6
    scores = all_scores(warehouse, FIRST, last)
    frauds = scores.filter("is_fraud")
    tested = []
    for number in range(7):
        day = first + timedelta(days=number)
        known = frauds.filter(
            pl.col("event_date").is_between(first - timedelta(days=delay + training), first - timedelta(days=delay + 1))
            | pl.col("event_date").is_in([first + timedelta(days=n - delay - 1) for n in range(1, number + 1)])
        )["user_id"]
        tested.append(scores.filter(pl.col("event_date") == day, ~pl.col("user_id").is_in(known.implode())))
    expected = pl.concat(tested)
    found = model_report(warehouse, first, last, k=2, known_cards_training_days=training, label_delay_days=delay).row(
        0, named=True
    )
    plain = model_report(warehouse, first, last, k=2).row(0, named=True)
    assert found["transactions"] == expected.height < plain["transactions"]
    assert found["frauds"] == expected["is_fraud"].sum()
    measured = performance(expected, review_cost=0, k=2, reported=reported(warehouse, expected))
    assert found["card_precision_at_k"] == measured.card_precision_at_k


def test_a_range_without_scores_gives_empty_reports(warehouse: Warehouse) -> None:
    before = FIRST - timedelta(days=10)
    assert daily_report(warehouse, before, before, label_delay_days=7).is_empty()
    report = model_report(warehouse, before, before)
    assert report.is_empty()
    assert "card_precision_ceiling" in report.columns
