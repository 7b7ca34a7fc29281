"""The monitoring layer: how well models and decisions did, the thresholds tuned from that, and drift."""

import dagster as dg

from fraud_pipelines.defs.daily_asset import daily_asset, verdict, warning_check
from fraud_pipelines.defs.keys import (
    DECISION_OUTCOMES,
    DECISIONS,
    FEATURE_DRIFT,
    MODEL_PERFORMANCE,
    TRANSACTION_FEATURES,
    TRANSACTION_SCORES,
)
from fraud_pipelines.defs.metadata import image, markdown_table, numbers, partition_day, table_metadata
from fraud_pipelines.defs.monitoring.performance_table import performance_table, reliability_table
from fraud_pipelines.defs.partitions import matured_window, training_window_and_day
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse

DRIFT_IS_SMALL = warning_check(
    FEATURE_DRIFT,
    "no_feature_has_drifted",
    "No feature lies further from the days before than chance and their usual differences explain, with a population "
    "stability index above 0.25.",
)


@daily_asset(
    "monitoring",
    "model_performance",
    deps=[
        dg.AssetDep(TRANSACTION_SCORES, partition_mapping=matured_window),
        dg.AssetDep(DECISIONS, partition_mapping=matured_window),
        DECISION_OUTCOMES,
    ],
    kinds=["duckdb", "mlflow"],
)
def model_performance(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
    model_registry: dg.ResourceParam[ModelRegistry],
) -> dg.MaterializeResult:
    """Precision, recall and the rest, as of the day, of each model and of the policy in force, by channel: over
    the days whose labels have had time to arrive. A transaction without a label counts as legitimate by then.
    Beside it an early reading of the days since, whose labels are still to come (`monitoring.early_performance`),
    where labels name the kind of fraud, recall by kind (`monitoring.scenario_performance`), and how probable fraud is
    by the score of each model (`monitoring.score_probabilities`), with how such probabilities have turned out
    (`monitoring.score_reliability`)."""
    from fraud_pipelines.evaluation.daily_performance import (
        log_matured_days,
        log_series,
        measure_performance,
        store_performance,
    )
    from fraud_pipelines.evaluation.figures import pr_curve
    from fraud_pipelines.storage.metric_series import MetricSeries

    day = partition_day(context)
    with warehouse.connect(read_only=True):
        measured = measure_performance(warehouse, settings, day)
    with warehouse.connect() as connection:
        store_performance(warehouse, measured, day)
        metadata = table_metadata(connection, "monitoring.model_performance", day=day, date_column="as_of")
    log_series(MetricSeries(settings.tracking_uri, artifact_root=settings.artifact_root), measured, day)
    judged = log_matured_days(model_registry, measured)
    metadata |= {
        "early_reading": markdown_table(measured.early),
        "by_scenario": markdown_table(measured.by_scenario),
        "reliability": reliability_table(measured.reliability),
    }
    if measured.rows.is_empty():
        context.log.info(f"no day has matured by {day}: labels are given {settings.label_delay_days} days to arrive")
        return dg.MaterializeResult(metadata=numbers(measured.headline) | metadata)
    return dg.MaterializeResult(
        metadata={
            "performance": performance_table(measured.rows),
            "pr_curve": image(pr_curve(measured.curves)),
            **numbers(measured.headline),
            "logged_to_mlflow_for": dg.MetadataValue.json(judged),
            **metadata,
        }
    )


@daily_asset("monitoring", "decision_thresholds", deps=[MODEL_PERFORMANCE, DECISIONS], kinds=["duckdb", "polars"])
def decision_thresholds(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """The thresholds for the next day, tuned from what is known as of this one, with the evidence. With
    FRAUD_TUNING_MODE=propose they are a proposal (`monitoring.threshold_proposals`), and nothing changes until a
    person accepts it: `fraud-pipelines thresholds accept`."""
    from fraud_pipelines.evaluation.daily_performance import tune_thresholds
    from fraud_pipelines.evaluation.figures import alert_volume, threshold_sweep
    from fraud_pipelines.evaluation.guards import why, why_blocks
    from fraud_pipelines.evaluation.proposals import put_in_effect

    day = partition_day(context)
    with warehouse.connect(read_only=True):
        tuned = tune_thresholds(warehouse, settings, day)
    proposed = tuned.proposal.thresholds
    name = "monitoring.decision_thresholds"
    with warehouse.connect() as connection:
        effect = put_in_effect(warehouse, proposed, tuned.current, mode=settings.tuning_mode, day=day)
        thresholds = effect.thresholds
        table = table_metadata(connection, name, day=thresholds.effective_date, date_column="effective_date")
    return dg.MaterializeResult(
        metadata={
            **numbers({"review_threshold": thresholds.review_threshold, "block_threshold": thresholds.block_threshold}),
            "why": dg.MetadataValue.md(
                "\n".join(f"- {sentence}" for sentence in (*why(thresholds.evidence), *why_blocks(thresholds.evidence)))
            ),
            "threshold_sweep": image(
                threshold_sweep(tuned.proposal, tuned.policy, current=tuned.current.review_threshold)
            ),
            "alert_volume": image(alert_volume(tuned.daily_alerts, budget=tuned.proposal.alert_budget)),
            "effective_date": thresholds.effective_date.isoformat(),
            "objective": proposed.objective,
            "origin": effect.origin,
            "proposal_status": effect.status or "put in force",
            **numbers(
                {
                    "proposed_review_threshold": proposed.review_threshold,
                    "proposed_block_threshold": proposed.block_threshold,
                }
            ),
            "evidence": dg.MetadataValue.json(proposed.evidence),
            **table,
        }
    )


@daily_asset(
    "monitoring",
    "feature_drift",
    deps=[dg.AssetDep(TRANSACTION_FEATURES, partition_mapping=training_window_and_day)],
    kinds=["duckdb", "polars"],
    checks=[DRIFT_IS_SMALL],
)
def feature_drift(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """How far the day's features lie from those of the training window: the population stability index of each. One
    above 0.25 is drift if few rows, or what days usually differ by, don't explain it; `compared_with` says which days
    that is judged by: the same weekday, once there are four."""
    from fraud_pipelines.evaluation.daily_drift import measure_drift, store_drift

    day = partition_day(context)
    drift = measure_drift(warehouse, settings, day)
    name = "monitoring.feature_drift"
    with warehouse.connect() as connection:
        store_drift(warehouse, drift, day)
        table = table_metadata(connection, name, day=day, order_by="psi DESC")
    shifted = drift.rows.filter(drift.rows["drifted"]).sort("psi", descending=True)
    return dg.MaterializeResult(
        metadata={
            **numbers({"drifted": shifted.height, "features": drift.rows.height}),
            **table,
        },
        check_results=[verdict(DRIFT_IS_SMALL, shifted.is_empty(), {"shifted": markdown_table(shifted)})],
    )
