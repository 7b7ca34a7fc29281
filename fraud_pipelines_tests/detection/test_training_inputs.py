"""Whether a model would be trained on the same again: told by digests, in which all that it learns from counts."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from fraud_pipelines.detection.backends import SUPERVISED
from fraud_pipelines.detection.daily_models import TrainingReport, ensure_daily_model, trained_before
from fraud_pipelines.detection.detector_plan import DetectorTraining
from fraud_pipelines.detection.detectors.boosted_trees import BoostedTreesParameters
from fraud_pipelines.detection.detectors.ecod import EcodParameters
from fraud_pipelines.detection.detectors.isolation_forest import IsolationForestParameters
from fraud_pipelines.detection.supervised_plan import SupervisedTraining
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.stored_days import day, make_warehouse

DETECTOR = DetectorTraining(
    declared=shipped_plan(),
    backend="ecod",
    parameters=EcodParameters(),
    contamination=0.02,
    training_days=3,
    min_training_days=2,
    label_delay_days=2,
    sample_rows=100_000,
)
LEARNER = SupervisedTraining(
    declared=shipped_plan(),
    parameters=BoostedTreesParameters(),
    contamination=0.02,
    label_delay_days=2,
    min_frauds=10,
    sample_rows=100_000,
    training_days=3,
)
ON = day(8)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return make_warehouse(Path(tmp_path_factory.mktemp("inputs")) / "fraud.duckdb", days=10)


def _changed_by(warehouse: Warehouse, inputs: Callable[[Warehouse, date], str], *changes: str) -> list[bool]:
    """Whether each change of what is stored changes the inputs of the day."""
    before, found = inputs(warehouse, ON), []
    for change in changes:
        with warehouse.connect() as connection:
            connection.execute("BEGIN")
            connection.execute(change)
            found.append(inputs(warehouse, ON) != before)
            connection.execute("ROLLBACK")
    assert inputs(warehouse, ON) == before
    return found


FEATURES = "UPDATE features.transaction_features SET user_z = user_z + 1 WHERE event_date = DATE '{}'"


def test_a_detectors_inputs_are_the_features_of_its_window_and_of_known_frauds_before(warehouse: Warehouse) -> None:
    changes = [FEATURES.format(day(number)) for number in (5, 7, 9)]
    assert _changed_by(warehouse, DETECTOR.inputs, *changes) == [True, True, False]
    earlier = FEATURES.format(day(4)) + " AND transaction_id {} (SELECT transaction_id FROM feedback.labels)"
    forgotten = "DELETE FROM feedback.labels WHERE transaction_id LIKE 't04%'"
    changes = [earlier.format("IN"), earlier.format("NOT IN"), forgotten]
    assert _changed_by(warehouse, DETECTOR.inputs, *changes) == [True, False, True]


def test_a_learners_inputs_are_its_days_and_what_was_known_of_them(warehouse: Warehouse) -> None:
    scores = (
        "INSERT INTO scoring.transaction_scores SELECT transaction_id, 'fraud-daily', '{}', event_date, 1, 0.1, 0.5, "
        "false, event_date FROM features.transaction_features WHERE event_date = DATE '{}'"
    )
    changes = {
        FEATURES.format(day(2)): False,
        FEATURES.format(day(3)): True,
        FEATURES.format(day(7)): True,
        FEATURES.format(day(8)): False,
        f"DELETE FROM feedback.labels WHERE known_at >= DATE '{ON}'": False,
        f"DELETE FROM feedback.labels WHERE known_at < DATE '{ON}'": True,
        scores.format("batch", day(4)): True,
        scores.format("stream", day(4)): False,
        scores.format("batch", day(9)): False,
    }
    assert _changed_by(warehouse, LEARNER.inputs, *changes) == list(changes.values())


@pytest.mark.parametrize(
    "other",
    [
        replace(DETECTOR, contamination=0.03),
        replace(DETECTOR, sample_rows=1000),
        replace(DETECTOR, min_training_days=3),
        replace(DETECTOR, backend="isolation_forest", parameters=IsolationForestParameters()),
        replace(DETECTOR, backend="isolation_forest", parameters=IsolationForestParameters(n_estimators=50)),
    ],
)
def test_settings_count(warehouse: Warehouse, other: DetectorTraining) -> None:
    assert other.inputs(warehouse, ON) != DETECTOR.inputs(warehouse, ON)
    assert DETECTOR.inputs(warehouse, ON) != DETECTOR.inputs(warehouse, day(7))


def test_what_was_trained_on_the_same_is_found_with_all_that_is_shown_of_it(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path)
    settings.mlflow_dir.mkdir(parents=True)
    registry = ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root)
    registry.initialise()
    for training, backend in ((DETECTOR, "ecod"), (LEARNER, SUPERVISED.name)):
        inputs = training.inputs(warehouse, ON)
        assert trained_before(registry, backend, ON, inputs) is None
        plan = training.plan(warehouse, ON)
        made = ensure_daily_model(registry, plan, report=lambda _: TrainingReport())
        # A release that knew of no inputs made it: its rows are read once more, and are as they were.
        assert trained_before(registry, backend, ON, inputs) is None
        again = ensure_daily_model(registry, plan, report=lambda _: TrainingReport(), inputs=inputs)
        found = trained_before(registry, backend, ON, inputs)
        assert found is not None
        assert not made.reused
        assert again.reused
        assert found.reused
        for each in (made, again, found):
            assert each.version.version == 1
            assert each.counts == {
                "training_rows": plan.features.height,
                "rows_in_window": plan.rows_in_window,
                "training_days": 3,
            }
            assert each.days == (plan.window.days[0].isoformat(), plan.window.days[-1].isoformat())
            assert each.left_out == plan.schema()[1]
            assert not each.bootstrap
        assert trained_before(registry, backend, ON, inputs + "0") is None
