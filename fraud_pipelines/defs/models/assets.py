"""The models layer: detectors of outliers, one a day and backend, trained on the days before, versioned in MLflow."""

from importlib.util import find_spec

import dagster as dg
from pydantic import Field

from fraud_pipelines.defs.daily_asset import daily_asset, verdict, warning_check
from fraud_pipelines.defs.keys import AUTOENCODER, ECOD, ISOLATION_FOREST, LABELS, SUOD, TRANSACTION_FEATURES
from fraud_pipelines.defs.metadata import partition_day
from fraud_pipelines.defs.models.training_metadata import training_metadata
from fraud_pipelines.defs.partitions import the_day_before
from fraud_pipelines.defs.partitions import training_window as days_before
from fraud_pipelines.detection.backends import BACKENDS, parse_parameters
from fraud_pipelines.detection.detectors.autoencoder import AutoencoderDetector
from fraud_pipelines.detection.detectors.ecod import EcodDetector, EcodParameters
from fraud_pipelines.detection.detectors.interface import Parameters
from fraud_pipelines.detection.detectors.isolation_forest import IsolationForestDetector, IsolationForestParameters
from fraud_pipelines.detection.detectors.suod import SuodDetector, SuodParameters
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse

WITH_AUTOENCODER = "autoencoder" in BACKENDS and find_spec("torch") is not None


class IsolationForestConfig(dg.Config, IsolationForestParameters):
    """Hyper-parameters of the daily isolation forest."""


class SuodConfig(dg.Config, SuodParameters):
    """Hyper-parameters of the daily ensemble."""

    # Dagster's config system knows lists of strings, not tuples of literals.
    members: list[str] = Field(  # type: ignore[assignment]
        default=list(SuodParameters().members), description=SuodParameters.model_fields["members"].description
    )


def _trained_out_of_sample(key: dg.AssetKey) -> dg.AssetCheckSpec:
    return warning_check(
        key, "trained_on_earlier_days", "The model has not seen the day it scores; fails in the first days."
    )


def _materialize(
    context: dg.AssetExecutionContext,
    backend: str,
    parameters: Parameters,
    check: dg.AssetCheckSpec,
    settings: Settings,
    warehouse: Warehouse,
    registry: ModelRegistry,
) -> dg.MaterializeResult:
    from fraud_pipelines.evaluation.detector_training import train_detector

    day = partition_day(context)
    trained = train_detector(warehouse, registry, settings, day, backend=backend, parameters=parameters)
    for feature, reason in trained.left_out.items():
        context.log.info(f"{feature} is left out of the schema: {reason}")
    return dg.MaterializeResult(
        metadata=training_metadata(trained, settings, registry),
        check_results=[verdict(check, not trained.bootstrap)],
    )


ISOLATION_FOREST_IS_OUT_OF_SAMPLE = _trained_out_of_sample(ISOLATION_FOREST)
SUOD_IS_OUT_OF_SAMPLE = _trained_out_of_sample(SUOD)
ECOD_IS_OUT_OF_SAMPLE = _trained_out_of_sample(ECOD)
AUTOENCODER_IS_OUT_OF_SAMPLE = _trained_out_of_sample(AUTOENCODER)
HISTORY = (
    dg.AssetDep(TRANSACTION_FEATURES, partition_mapping=days_before),
    # What the backtest judges by.
    dg.AssetDep(LABELS, partition_mapping=the_day_before),
)


@daily_asset(
    "models",
    "isolation_forest",
    deps=HISTORY,
    kinds=["mlflow", "pyod", "scikitlearn"],
    checks=[ISOLATION_FOREST_IS_OUT_OF_SAMPLE],
    computes=[IsolationForestDetector],
)
def isolation_forest(
    context: dg.AssetExecutionContext,
    config: IsolationForestConfig,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
    model_registry: dg.ResourceParam[ModelRegistry],
) -> dg.MaterializeResult:
    """The day's isolation forest, a version of `fraud-daily`: trained on the trailing days before the day, so
    that it scores nothing it has seen. The same input again reuses its version."""
    parameters = IsolationForestParameters(**config.model_dump())
    check = ISOLATION_FOREST_IS_OUT_OF_SAMPLE
    return _materialize(context, "isolation_forest", parameters, check, settings, warehouse, model_registry)


@daily_asset(
    "models",
    "suod",
    deps=HISTORY,
    kinds=["mlflow", "pyod"],
    checks=[SUOD_IS_OUT_OF_SAMPLE],
    computes=[SuodDetector],
)
def suod(
    context: dg.AssetExecutionContext,
    config: SuodConfig,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
    model_registry: dg.ResourceParam[ModelRegistry],
) -> dg.MaterializeResult:
    """The day's ensemble (isolation forest, ECOD and LODA), a version of
    `fraud-ensemble`. It gives the second opinion on what the isolation forest flags."""
    parameters = SuodParameters(**config.model_dump())
    return _materialize(context, "suod", parameters, SUOD_IS_OUT_OF_SAMPLE, settings, warehouse, model_registry)


@daily_asset(
    "models",
    "ecod",
    deps=HISTORY,
    kinds=["mlflow", "pyod"],
    checks=[ECOD_IS_OUT_OF_SAMPLE],
    computes=[EcodDetector],
)
def ecod(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
    model_registry: dg.ResourceParam[ModelRegistry],
) -> dg.MaterializeResult:
    """The day's ECOD, a version of `fraud-realtime`: what the stream screens with, compared here with the others
    on whole days. It has no parameters."""
    check = ECOD_IS_OUT_OF_SAMPLE
    return _materialize(context, "ecod", EcodParameters(), check, settings, warehouse, model_registry)


if WITH_AUTOENCODER:

    @daily_asset(
        "models",
        "autoencoder",
        deps=HISTORY,
        kinds=["mlflow"],
        checks=[AUTOENCODER_IS_OUT_OF_SAMPLE],
        computes=[AutoencoderDetector],
    )
    def autoencoder(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        warehouse: dg.ResourceParam[Warehouse],
        model_registry: dg.ResourceParam[ModelRegistry],
    ) -> dg.MaterializeResult:
        """The day's autoencoder, a version of `fraud-autoencoder`; there is one where PyTorch is installed. It is
        scored and compared like the others and decides nothing."""
        parameters, check = parse_parameters("autoencoder", None), AUTOENCODER_IS_OUT_OF_SAMPLE
        return _materialize(context, "autoencoder", parameters, check, settings, warehouse, model_registry)
