"""The supervised challenger: trained on labels once enough of them are known."""

import dagster as dg
from pydantic import Field

from fraud_pipelines.defs.daily_asset import daily_asset
from fraud_pipelines.defs.keys import LABELS, TRANSACTION_FEATURES
from fraud_pipelines.defs.metadata import partition_day
from fraud_pipelines.defs.models.training_metadata import training_metadata
from fraud_pipelines.defs.partitions import SETTINGS, the_day_before
from fraud_pipelines.detection.detectors.boosted_trees import BoostedTreesDetector, BoostedTreesParameters
from fraud_pipelines.detection.supervised import MIN_FRAUDS, TRAINING_DAYS
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse

labelled_window = dg.TimeWindowPartitionMapping(
    start_offset=-SETTINGS.label_delay_days - TRAINING_DAYS, end_offset=-1, allow_nonexistent_upstream_partitions=True
)


class SupervisedConfig(dg.Config, BoostedTreesParameters):
    """Hyper-parameters of the supervised model."""

    training_days: int = Field(
        default=TRAINING_DAYS, ge=1, le=365, description="Matured days it is trained on, at most."
    )
    min_frauds: int = Field(default=MIN_FRAUDS, ge=2, description="With fewer known frauds there, it isn't trained.")


@daily_asset(
    "models",
    "supervised",
    deps=[
        dg.AssetDep(TRANSACTION_FEATURES, partition_mapping=labelled_window),
        dg.AssetDep(LABELS, partition_mapping=the_day_before),
    ],
    kinds=["mlflow", "scikitlearn"],
    computes=[BoostedTreesDetector],
)
def supervised(
    context: dg.AssetExecutionContext,
    config: SupervisedConfig,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
    model_registry: dg.ResourceParam[ModelRegistry],
) -> dg.MaterializeResult:
    """The day's boosted trees, a version of `fraud-supervised`: trained on the features and on the scores of the
    other models, on days whose labels have had time to arrive. While too few frauds are known, there is none. (The
    scores of the days before are no edge: it would close a circle over the days, which an asset graph can't draw.)"""
    from fraud_pipelines.decisions.configuration import policy_in_force
    from fraud_pipelines.detection.backends import SUPERVISED
    from fraud_pipelines.detection.daily_models import ensure_daily_model, trained_before
    from fraud_pipelines.detection.supervised_plan import SupervisedTraining
    from fraud_pipelines.errors import MissingData
    from fraud_pipelines.evaluation.training_report import training_report
    from fraud_pipelines.plan.compile import plan_in_force

    day = partition_day(context)
    training = SupervisedTraining(
        parameters=BoostedTreesParameters(**config.model_dump(include=set(BoostedTreesParameters.model_fields))),
        contamination=policy_in_force(settings).contamination,
        label_delay_days=settings.label_delay_days,
        training_days=config.training_days,
        min_frauds=config.min_frauds,
        sample_rows=settings.training_sample_rows,
        declared=plan_in_force(settings),
    )
    inputs = training.inputs(warehouse, day)
    trained = trained_before(model_registry, SUPERVISED.name, day, inputs)
    if trained is None:
        try:
            plan = training.plan(warehouse, day)
        except MissingData as missing:
            context.log.info(f"no model is trained: {missing}")
            return dg.MaterializeResult(metadata={"model": "none yet", "why": str(missing)})
        trained = ensure_daily_model(
            model_registry,
            plan,
            report=lambda model: training_report(model, plan, warehouse, settings),
            inputs=inputs,
        )
    return dg.MaterializeResult(metadata=training_metadata(trained, settings, model_registry))
