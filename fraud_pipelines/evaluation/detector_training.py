"""Training a detector for a day by the settings in force: reused where its input is known, else fitted and reported."""

from datetime import date

from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.detection.daily_models import TrainedModel, ensure_daily_model, trained_before
from fraud_pipelines.detection.detector_plan import DetectorTraining
from fraud_pipelines.detection.detectors.interface import Parameters
from fraud_pipelines.evaluation.training_report import training_report
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse


def train_detector(
    warehouse: Warehouse,
    registry: ModelRegistry,
    settings: Settings,
    day: date,
    *,
    backend: str,
    parameters: Parameters,
) -> TrainedModel:
    """The version of a backend's model for ``day``; a new one only where its input is.

    Raises:
        MissingData: no features are stored up to and including the day.
    """
    training = DetectorTraining(
        backend=backend,
        parameters=parameters,
        contamination=policy_in_force(settings).contamination,
        training_days=settings.training_days,
        min_training_days=settings.min_training_days,
        label_delay_days=settings.label_delay_days,
        sample_rows=settings.training_sample_rows,
        declared=plan_in_force(settings),
    )
    inputs = training.inputs(warehouse, day)
    trained = trained_before(registry, backend, day, inputs)
    if trained is not None:
        return trained
    plan = training.plan(warehouse, day)
    return ensure_daily_model(
        registry, plan, report=lambda model: training_report(model, plan, warehouse, settings), inputs=inputs
    )
