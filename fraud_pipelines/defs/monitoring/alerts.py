"""Alerts: what the day's run found, told to people."""

import dagster as dg

from fraud_pipelines.defs.daily_asset import daily_asset
from fraud_pipelines.defs.keys import ALERTS, DECISION_THRESHOLDS, DECISIONS, FEATURE_DRIFT
from fraud_pipelines.defs.metadata import numbers, partition_day, table_metadata
from fraud_pipelines.defs.telling import tell
from fraud_pipelines.pages import review_page
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse


@daily_asset(*ALERTS.path, deps=[DECISIONS, DECISION_THRESHOLDS, FEATURE_DRIFT], kinds=["duckdb", "slack"])
def alerts(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """What people should know of the day: blocked payments, thresholds that moved or wait for a person to accept them,
    features that drifted. Each is told once, to the webhook in FRAUD_ALERT_WEBHOOK; without one, here and in the log.
    A webhook that can't be reached fails nothing: the next run tries again."""
    from fraud_pipelines.decisions.alerts import alerts_of_day
    from fraud_pipelines.decisions.configuration import policy_in_force
    from fraud_pipelines.decisions.second_stage import policy_of_day

    day = partition_day(context)
    with warehouse.connect(read_only=True):
        found = alerts_of_day(warehouse, policy_of_day(warehouse, policy_in_force(settings), day), day)
    delivery = tell(context, settings, warehouse, found)
    with warehouse.connect(read_only=True) as connection:
        table = table_metadata(connection, "monitoring.alerts", day=day, order_by="created_at, kind")
    return dg.MaterializeResult(
        metadata={
            **numbers({"new_alerts": len(delivery.new), "delivered": delivery.delivered}),
            "review_queue": dg.MetadataValue.url(review_page(settings)),
            **table,
        }
    )
