"""The comparison of models: by what was known, against the amount alone, overall and day by day."""

from pathlib import Path

import pytest

from fraud_pipelines.evaluation.colours import model_colour
from fraud_pipelines.evaluation.comparison import Comparison, compare_as_of, compare_models, comparison_rows
from fraud_pipelines.evaluation.figures import calibration_by_band, daily_lines
from fraud_pipelines.evaluation.metrics import performance
from fraud_pipelines.evaluation.outcomes import matured_scores, reporting_delay
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.drawings import Drawing
from fraud_pipelines_tests.evaluation.stored_days import FRAUDS, ROWS, day, make_warehouse

DAYS = 8


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder: Path = tmp_path_factory.mktemp("comparison")
    return Settings(data_dir=folder, training_days=3, min_training_days=2, label_delay_days=3, evaluation_days=4)


@pytest.fixture(scope="module")
def warehouse(settings: Settings) -> Warehouse:
    """Two models scored all days, a third one the last two that have matured only."""
    warehouse = make_warehouse(settings.warehouse_path, days=DAYS)
    with warehouse.transaction() as connection:
        for name, score, first in (("good", "user_z", 0), ("poor", "-user_z", 0), ("late", "user_rz", 3)):
            connection.execute(
                f"""
                INSERT INTO scoring.transaction_scores
                SELECT transaction_id, '{name}', 'batch', event_date, 1, {score},
                       1 / (1 + exp(-({score}))), {score} > 6, event_date
                FROM features.transaction_features WHERE event_date >= $first
                """,
                {"first": day(first)},
            )
    return warehouse


@pytest.fixture(scope="module")
def compared(warehouse: Warehouse, settings: Settings) -> Comparison:
    return compare_as_of(warehouse, settings, day(DAYS - 1), alert_share=0.02)


def test_models_are_ranked_by_average_precision_and_measured_like_everything_else(
    compared: Comparison, warehouse: Warehouse
) -> None:
    rows = {row["model_name"]: row for row in compared.models.to_dicts()}
    assert rows.keys() == {"good", "late", "poor", "amount"}
    assert [row["rank"] for row in compared.models.to_dicts()] == [1, 2, 3, 4]
    assert rows["poor"]["rank"] == 4
    outcomes = matured_scores(warehouse, day(DAYS - 1), label_delay_days=3, evaluation_days=4, model_name="good")
    reported = reporting_delay(warehouse, day(DAYS - 1)).reported_of(outcomes)
    measured = performance(outcomes, review_cost=0.0, reported=reported)
    assert rows["good"]["average_precision"] == measured.average_precision
    assert rows["good"]["card_precision_at_k"] == measured.card_precision_at_k
    assert rows["good"]["alerts"] == measured.alerts
    assert (rows["good"]["days"], rows["late"]["days"]) == (4, 2)
    assert rows["good"]["gain_over_amount_low"] > 0 > rows["poor"]["gain_over_amount_high"]
    assert rows["amount"]["gain_over_amount"] is None


def test_the_amount_alone_alerts_as_many_as_the_models_are_meant_to(compared: Comparison) -> None:
    amount = compared.days.filter(compared.days["model_name"] == "amount")
    assert amount["alerts"].to_list() == [4, 4, 4, 4]
    assert amount["transactions"].to_list() == [ROWS] * 4
    assert compared.days["frauds"].to_list() == [FRAUDS] * compared.days.height
    assert compared.days.filter(compared.days["model_name"] == "late")["event_date"].to_list() == [day(3), day(4)]


def test_what_became_known_later_is_not_looked_at(warehouse: Warehouse, settings: Settings) -> None:
    early = compare_models(warehouse, day(1), day(4), alert_share=0.02, as_of=day(4))
    assert early.days.filter(early.days["model_name"] == "good")["frauds"].to_list() == [FRAUDS, FRAUDS, 0, 0]
    assert early.models["average_precision"].null_count() == early.models.height
    nothing = compare_as_of(warehouse, settings, day(2), alert_share=0.02)
    assert nothing.models.is_empty()
    assert comparison_rows(warehouse, settings, day(2), nothing).is_empty()


def test_the_rows_fit_the_table_and_the_figures_are_drawn(
    compared: Comparison, warehouse: Warehouse, settings: Settings
) -> None:
    as_of = day(DAYS - 1)
    rows = comparison_rows(warehouse, settings, as_of, compared)
    warehouse.overwrite("monitoring.model_comparison", rows, as_of=as_of)
    stored = warehouse.read("SELECT * FROM monitoring.model_comparison ORDER BY rank")
    assert stored["model_name"].to_list() == compared.models["model_name"].to_list()
    assert set(stored["window_start"]) == {day(1)}
    assert set(stored["window_end"]) == {day(4)}
    bands = compared.bands["good"]
    assert bands["transactions"].sum() == 4 * ROWS
    assert bands["frauds"].sum() == 4 * FRAUDS
    lines = compared.days.rename({"average_precision": "value"})
    for figure in (calibration_by_band(compared.bands), daily_lines(lines, "by day", "average precision")):
        drawn = Drawing(figure)
        assert drawn.legend["good"] == model_colour("good")
        assert drawn.legend.keys() <= set(compared.models["model_name"])
