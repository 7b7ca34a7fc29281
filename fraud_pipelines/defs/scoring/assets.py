"""The scoring layer: end-of-day scores by the day's models, and the decisions that follow from them."""

import dagster as dg
import polars as pl

from fraud_pipelines.defs.daily_asset import blocking_check, daily_asset, verdict
from fraud_pipelines.defs.keys import DECISIONS, MODEL_PROMOTION, TRANSACTION_FEATURES, TRANSACTION_SCORES
from fraud_pipelines.defs.metadata import image, link, numbers, partition_day, shard_costs, table_metadata, utc_now
from fraud_pipelines.detection.backends import DETECTORS
from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.pages import case_page, review_page, version_page
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.integrity import count_rows, key_defects
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.kinds import PAYMENTS

SCORES_ARE_IN_RANGE = blocking_check(
    TRANSACTION_SCORES, "scores_lie_in_unit_interval", "Every score is a number from 0 to 1."
)
SCORES_ARE_COMPLETE = blocking_check(
    TRANSACTION_SCORES, "every_transaction_has_a_daily_score", "fraud-daily scored each transaction, once."
)
DECISIONS_ARE_COMPLETE = blocking_check(
    DECISIONS, "every_transaction_is_decided_once", "As many decisions as transactions, each under its own id."
)

READS = {
    "score": [dg.TableColumnDep(TRANSACTION_SCORES, "score")],
    "decision": [dg.TableColumnDep(TRANSACTION_SCORES, "score")],
    "reason": [dg.TableColumnDep(TRANSACTION_SCORES, "score")],
    "model_versions": [
        dg.TableColumnDep(TRANSACTION_SCORES, "model_name"),
        dg.TableColumnDep(TRANSACTION_SCORES, "model_version"),
    ],
}
"""What a decision is made from, the thresholds aside."""


@daily_asset(
    "scoring",
    "transaction_scores",
    deps=[TRANSACTION_FEATURES, MODEL_PROMOTION],
    kinds=["duckdb", "mlflow"],
    checks=[SCORES_ARE_IN_RANGE, SCORES_ARE_COMPLETE],
    computes=DETECTORS,
)
def transaction_scores(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
    model_registry: dg.ResourceParam[ModelRegistry],
    engine: dg.ResourceParam[Engine],
) -> dg.MaterializeResult:
    """Scores of the day's transactions by the version of each model that is in use for the day, see
    `models/model_promotion`. Above 0.5 lies the top share that the policy calls its contamination."""
    from fraud_pipelines.detection.daily_models import DAILY_MODEL, load_models_in_use
    from fraud_pipelines.detection.scored_day import scored_day
    from fraud_pipelines.evaluation.figures import score_histogram
    from fraud_pipelines.plan.compile import plan_in_force

    day = partition_day(context)
    models = load_models_in_use(warehouse, model_registry, day, declared=plan_in_force(settings))
    name = "scoring.transaction_scores"
    with (
        scored_day(warehouse, models, engine, day=day, now=utc_now()) as scores,
        warehouse.connect() as connection,
    ):
        warehouse.overwrite(name, scores.rows, event_date=day, channel="batch")
        scored = count_rows(connection, name, event_date=day, channel="batch", model_name=DAILY_MODEL)
        defects = key_defects(connection, name, ["transaction_id", "model_name", "channel"], event_date=day)
        table = table_metadata(connection, name, day=day, order_by="score DESC, transaction_id, model_name")
    outside = scores.seen.filter(~scores.seen["score"].is_between(0, 1))
    anomalies = scores.seen.group_by("model_name").agg(pl.col("is_anomaly").sum()).sort("model_name").rows()
    return dg.MaterializeResult(
        metadata={
            "models": dg.MetadataValue.md(
                ", ".join(
                    link(version_page(settings, each.name, each.version), f"{each.name}/{each.version}")
                    for each in models
                )
            ),
            **numbers({f"anomalies_{each}": count for each, count in anomalies}),
            "score_histogram": image(
                score_histogram({str(each): frame["score"] for (each,), frame in scores.seen.group_by("model_name")})
            ),
            **shard_costs(engine),
            **table,
        },
        check_results=[
            verdict(SCORES_ARE_IN_RANGE, outside.is_empty(), numbers({"outside": outside.height})),
            verdict(
                SCORES_ARE_COMPLETE,
                scored == scores.transactions and not defects,
                numbers({"scored": scored, "transactions": scores.transactions, "duplicated": defects.duplicated}),
            ),
        ],
    )


@daily_asset(
    "scoring",
    "decisions",
    deps=[TRANSACTION_SCORES, TRANSACTION_FEATURES, MODEL_PROMOTION],
    kinds=["duckdb", "polars"],
    checks=[DECISIONS_ARE_COMPLETE],
)
def decisions(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
    model_registry: dg.ResourceParam[ModelRegistry],
    engine: dg.ResourceParam[Engine],
) -> dg.MaterializeResult:
    """Approve, review or block, with the reasons a reviewer reads. Uses the thresholds that were tuned as of
    the day before: the row of `monitoring/decision_thresholds` with this day as its effective date. (That
    edge would close a circle over the days, which an asset graph can't draw.)"""
    from fraud_pipelines.decisions.configuration import engine_in_force
    from fraud_pipelines.decisions.hard_rules import RULE_REASON
    from fraud_pipelines.decisions.recorded_day import decide_and_record
    from fraud_pipelines.decisions.shadow import shadows_of_day
    from fraud_pipelines.decisions.stages import ALERT_CAP

    day = partition_day(context)
    with warehouse.connect(read_only=True):
        deciding = engine_in_force(warehouse, settings, day)
        shadows = shadows_of_day(warehouse, settings, day)
    of_day = decide_and_record(warehouse, model_registry, deciding, engine, day=day, now=utc_now(), shadows=shadows)
    decided, recorded = of_day.seen, of_day.recorded
    name = "scoring.decisions"
    with warehouse.connect(read_only=True) as connection:
        rows = count_rows(connection, name, event_date=day, channel="batch")
        transactions = count_rows(connection, PAYMENTS, event_date=day)
        defects = key_defects(connection, name, ["transaction_id", "channel"], event_date=day)
        table = table_metadata(
            connection, name, day=day, order_by="decision = 'approve', score DESC, transaction_id", reads=READS
        )
    policy, thresholds = of_day.engine.policy, of_day.engine.thresholds
    alerted = decided.filter(decided["decision"] != "approve").sort("score", "transaction_id", descending=[True, False])
    highest = next(iter(alerted["transaction_id"]), None)
    by_rule = decided.filter(decided["reason"].str.starts_with(RULE_REASON)).height
    beyond = decided.filter(decided["reason"] == ALERT_CAP).height
    if beyond:
        context.log.warning(
            f"{beyond} more payments score above the review threshold than the policy has alerted on a day: they are "
            f"approved, with the reason {ALERT_CAP}"
        )
    volume = {each: decided.filter(decided["decision"] == each).height for each in ("approve", "review", "block")}
    return dg.MaterializeResult(
        metadata={
            **numbers({"alerts": volume["review"] + volume["block"], **volume, "by_rule": by_rule}),
            **numbers({"approved_by_the_alert_cap": beyond}),
            "in_shadow": ", ".join(of_day.shadow.days["name"]) or "nothing",
            "review_queue": dg.MetadataValue.url(review_page(settings)),
            **({"highest_case": dg.MetadataValue.url(case_page(settings, highest))} if highest else {}),
            **numbers({"new": recorded.new, "revised": recorded.revised, "withdrawn": recorded.withdrawn}),
            **numbers({"review_threshold": thresholds.review_threshold, "block_threshold": thresholds.block_threshold}),
            "policy": policy.name,
            "decided_by": policy.second_stage,
            "thresholds_by": thresholds.objective,
            "thresholds_row": f"{thresholds.policy}, effective {thresholds.effective_date}",
            "log_entries": recorded.head.sequence,
            "log_head": recorded.head.hash,
            **table,
            **shard_costs(engine),
        },
        check_results=[
            verdict(
                DECISIONS_ARE_COMPLETE,
                rows == transactions and not defects,
                numbers({"decisions": rows, "transactions": transactions, "duplicated": defects.duplicated}),
            )
        ],
    )
