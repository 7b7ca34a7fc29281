"""Which version of each model scores the day."""

from typing import get_args

import dagster as dg
import polars as pl

from fraud_pipelines.defs.daily_asset import daily_asset
from fraud_pipelines.defs.keys import (
    AUTOENCODER,
    ECOD,
    ISOLATION_FOREST,
    LABELS,
    MODEL_PROMOTION,
    SUOD,
    SUPERVISED,
    TRANSACTION_FEATURES,
)
from fraud_pipelines.defs.metadata import link, numbers, partition_day, table_metadata
from fraud_pipelines.defs.models.assets import WITH_AUTOENCODER
from fraud_pipelines.defs.partitions import the_day_before
from fraud_pipelines.pages import version_page
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse


@daily_asset(
    "models",
    "model_promotion",
    deps=[
        ISOLATION_FOREST,
        SUOD,
        ECOD,
        SUPERVISED,
        *([AUTOENCODER] if WITH_AUTOENCODER else []),
        TRANSACTION_FEATURES,
        dg.AssetDep(LABELS, partition_mapping=the_day_before),
        # The champion so far is the version that was in use the day before.
        dg.AssetDep(MODEL_PROMOTION, partition_mapping=the_day_before),
    ],
    kinds=["mlflow", "duckdb"],
)
def model_promotion(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
    model_registry: dg.ResourceParam[ModelRegistry],
) -> dg.MaterializeResult:
    """The version of each model that is in use for the day: the day's own unless it does worse than the one before
    it, or a person has pinned one; and which of the models decides the day (`second_stage`): the one that is shown to
    rank matured days best, or the amount where none is shown to beat it. Moves the aliases `champion` and `challenger`
    in MLflow; each decision is a row of `monitoring.model_promotions` with its evidence."""
    from fraud_pipelines.evaluation.promotion import Decision, decide_promotions, record_promotions

    day = partition_day(context)
    promotions = decide_promotions(warehouse, model_registry, settings, day)
    for each in promotions:
        context.log.info(f"{each.version} {each.decision}: {each.why}")
    with warehouse.connect() as connection:
        record_promotions(warehouse, model_registry, promotions, day)
        table = table_metadata(connection, "monitoring.model_promotions", day=day, date_column="as_of")
    decisions = pl.Series([each.decision for each in promotions], dtype=pl.String)
    shown = {
        each.model_name: dg.MetadataValue.md(
            f"{link(version_page(settings, each.scored_by, each.candidate_version), each.version)} "
            f"{each.decision}: {each.why}"
        )
        for each in promotions
    }
    return dg.MaterializeResult(
        metadata={
            **shown,
            **numbers({name: int((decisions == name).sum()) for name in get_args(Decision)}),
            **table,
        }
    )
