"""The models layer: an isolation forest and an ensemble a day, trained on the days before, versioned in MLflow."""

import dagster as dg
from pydantic import Field

from fraud_pipelines.defs.daily_asset import daily_asset, verdict, warning_check
from fraud_pipelines.defs.keys import ISOLATION_FOREST, LABELS, SUOD, TRANSACTION_FEATURES
from fraud_pipelines.defs.metadata import image, numbers, partition_day
from fraud_pipelines.defs.partitions import the_day_before
from fraud_pipelines.defs.partitions import training_window as days_before
from fraud_pipelines.detection.detectors.interface import Parameters
from fraud_pipelines.detection.detectors.isolation_forest import IsolationForestParameters
from fraud_pipelines.detection.detectors.suod import SuodParameters
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse


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
    from fraud_pipelines.decisions.configuration import policy_in_force
    from fraud_pipelines.detection.daily import TrainingPlan, ensure_daily_model
    from fraud_pipelines.detection.training import training_window
    from fraud_pipelines.evaluation.training_report import training_report
    from fraud_pipelines.features.frames import days_with_features, read_features

    day = partition_day(context)
    with warehouse.connect(read_only=True):
        window = training_window(
            day,
            days_with_features(warehouse),
            training_days=settings.training_days,
            min_training_days=settings.min_training_days,
        )
        features = read_features(warehouse, window.days[0], window.days[-1])
    plan = TrainingPlan(
        backend=backend,
        day=day,
        window=window,
        features=features,
        parameters=parameters,
        contamination=policy_in_force(settings).contamination,
    )
    trained = ensure_daily_model(registry, plan, report=lambda model: training_report(model, warehouse, settings, day))
    for feature, reason in trained.left_out.items():
        context.log.info(f"{feature} is left out of the schema: {reason}")
    version = trained.version
    return dg.MaterializeResult(
        metadata={
            **numbers({"training_rows": plan.features.height, "training_days": len(window.days)}),
            **numbers(trained.metrics),
            "model": f"{version.name}/{version.version}",
            "mlflow_run": version.run_id,
            "trained_from": window.days[0].isoformat(),
            "trained_to": window.days[-1].isoformat(),
            "bootstrap": window.bootstrap,
            "reused": trained.reused,
            "left_out": dg.MetadataValue.json(trained.left_out),
            **{name: image(png, name) for name, png in trained.figures.items()},
        },
        check_results=[verdict(check, not window.bootstrap)],
    )


ISOLATION_FOREST_IS_OUT_OF_SAMPLE = _trained_out_of_sample(ISOLATION_FOREST)
SUOD_IS_OUT_OF_SAMPLE = _trained_out_of_sample(SUOD)
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


@daily_asset("models", "suod", deps=HISTORY, kinds=["mlflow", "pyod"], checks=[SUOD_IS_OUT_OF_SAMPLE])
def suod(
    context: dg.AssetExecutionContext,
    config: SuodConfig,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
    model_registry: dg.ResourceParam[ModelRegistry],
) -> dg.MaterializeResult:
    """The day's ensemble (isolation forest, ECOD, histograms and principal components), a version of
    `fraud-ensemble`. It gives the second opinion on what the isolation forest flags."""
    parameters = SuodParameters(**config.model_dump())
    return _materialize(context, "suod", parameters, SUOD_IS_OUT_OF_SAMPLE, settings, warehouse, model_registry)
