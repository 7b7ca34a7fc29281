"""What a daily detector is trained on: the trailing days before the day that it is to score."""

from datetime import date

from fraud_pipelines.detection.daily import TrainingPlan
from fraud_pipelines.detection.detectors.interface import Parameters
from fraud_pipelines.detection.training import training_window
from fraud_pipelines.features.frames import days_with_features, sample_features
from fraud_pipelines.storage.warehouse import Warehouse


def detector_plan(
    warehouse: Warehouse,
    day: date,
    *,
    backend: str,
    parameters: Parameters,
    contamination: float,
    training_days: int,
    min_training_days: int,
    sample_rows: int,
) -> TrainingPlan:
    """The plan for ``day``: of the window's transactions all, or a sample where there are more than ``sample_rows``.

    Raises:
        MissingData: no features are stored up to and including the day.
    """
    with warehouse.connect(read_only=True):
        window = training_window(
            day, days_with_features(warehouse), training_days=training_days, min_training_days=min_training_days
        )
        sample = sample_features(warehouse, window.days[0], window.days[-1], most=sample_rows)
    return TrainingPlan(
        backend=backend,
        day=day,
        window=window,
        features=sample.rows,
        rows_in_window=sample.total,
        parameters=parameters,
        contamination=contamination,
    )
