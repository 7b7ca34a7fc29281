"""The feedback layer: labels as they become known, and what they say of the decisions they judge."""

import dagster as dg

from fraud_pipelines.defs.daily_asset import blocking_check, daily_asset, verdict
from fraud_pipelines.defs.keys import DECISIONS, LABELS, TRANSACTIONS
from fraud_pipelines.defs.metadata import numbers, partition_day, table_metadata, utc_now
from fraud_pipelines.defs.telling import tell_of_landing
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import select
from fraud_pipelines.storage.integrity import content_version, key_defects
from fraud_pipelines.storage.warehouse import Warehouse

KEYS_ARE_SOUND = blocking_check(
    LABELS, "a_source_labels_a_transaction_once", "No transaction has two labels from the same source."
)


@daily_asset("feedback", "labels", deps=[TRANSACTIONS], checks=[KEYS_ARE_SOUND])
def labels(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """Labels that became known on the day: verdicts of reviewers, and chargebacks. Takes in every label
    file that waits in the landing zone; what can't be used is kept in `feedback.rejected_labels`."""
    from fraud_pipelines.decisions.labels import land_pending_labels

    day = partition_day(context)
    plan = plan_in_force(settings)
    landed = land_pending_labels(
        warehouse,
        settings.landing_labels,
        clock=utc_now,
        skew=settings.clock_skew,
        entities=plan.entities,
        guarded=bool(plan.tokens),
    )
    tell_of_landing(context, settings, warehouse, settings.landing_labels.name, landed.problems)
    landed.require_usable()
    name = "feedback.labels"
    with warehouse.connect(read_only=True) as connection:
        known = select(connection, f"SELECT actual_fraud FROM {name} WHERE known_at::DATE = ?", [day])
        defects = key_defects(connection, name, ["transaction_id", "source"])
        content = content_version(connection, name, without=["ingested_at"], **{"known_at::DATE": day})
        table = table_metadata(connection, name, day=day, date_column="known_at")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content),
        metadata={
            **numbers(
                {
                    "labels": known.height,
                    "frauds": known.filter(known["actual_fraud"]).height,
                    "rows_rejected": sum(report.rows_rejected for report in landed.reports),
                }
            ),
            **table,
        },
        check_results=[verdict(KEYS_ARE_SOUND, not defects, numbers({"duplicated": defects.duplicated}))],
    )


@daily_asset("feedback", "decision_outcomes", deps=[LABELS, DECISIONS])
def decision_outcomes(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """What the day's labels say of the decisions they judge, the day's own and earlier ones."""
    from fraud_pipelines.evaluation.outcomes import outcomes_learned_on

    day = partition_day(context)
    learned = outcomes_learned_on(warehouse, day)
    name = "feedback.decision_outcomes"
    with warehouse.connect() as connection:
        warehouse.overwrite(name, learned, outcome_date=day)
        table = table_metadata(connection, name, day=day, date_column="outcome_date")
    correct = learned.filter(learned["correct"])
    missed = learned.filter(learned["actual_fraud"] & (learned["decision"] == "approve"))
    return dg.MaterializeResult(
        metadata={
            **numbers(
                {
                    "outcomes": learned.height,
                    "correct_decisions": correct.height,
                    "frauds_missed": missed.height,
                }
            ),
            **table,
        }
    )
