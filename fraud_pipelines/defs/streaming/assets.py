"""The streaming layer: micro-batches as they are screened, and how far the stream agrees with the day."""

import dagster as dg

from fraud_pipelines.defs.daily_asset import daily_asset, layer_asset
from fraud_pipelines.defs.keys import (
    DECISION_THRESHOLDS,
    DECISIONS,
    PROCESSED_BATCHES,
    SUOD,
    TRANSACTION_FEATURES,
)
from fraud_pipelines.defs.metadata import markdown_table, numbers, partition_day, table_metadata, utc_now
from fraud_pipelines.defs.telling import tell, tell_of_landing
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.pages import review_page
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse


@layer_asset(
    *PROCESSED_BATCHES.path, deps=[TRANSACTION_FEATURES, SUOD, DECISION_THRESHOLDS], kinds=["duckdb", "polars"]
)
def processed_batches(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
    model_registry: dg.ResourceParam[ModelRegistry],
) -> dg.MaterializeResult:
    """Micro-batches of the stream. Takes in what waits in `data/landing/stream/`, oldest first: every transaction
    is folded into its user's history, screened, decided, and committed with its batch's id in one transaction, so
    that a batch counts once. Files that can't be read are set aside in `_unreadable`, with the reason."""
    from fraud_pipelines.decisions.alerts import blocked_alert, landing_alert
    from fraud_pipelines.streaming.drain import drain
    from fraud_pipelines.streaming.session import StreamSession
    from fraud_pipelines.streaming.settings import StreamSettings

    session = StreamSession(warehouse, model_registry, settings, StreamSettings.from_environment())
    report = drain(session, settings.landing_stream, clock=utc_now)
    if session.problem:
        context.log.warning(f"not up to date, the stream goes on with what it had: {session.problem}")
    for name, reason in report.unreadable.items():
        context.log.warning(f"{name} was set aside: {reason}")
    zone = settings.landing_stream.name
    tell_of_landing(context, settings, warehouse, zone, report.problems)
    blocked = [blocked_alert(warehouse, day) for day in report.days]
    alerts = [alert for alert in (*blocked, landing_alert(zone, report.unreadable, utc_now().date())) if alert]
    told = len(tell(context, settings, warehouse, alerts).new)
    if report.stuck:
        raise InvalidInput("\n".join(report.stuck.values()))
    name = "streaming.processed_batches"
    with warehouse.connect(read_only=True) as connection:
        table = table_metadata(
            connection, name, day=utc_now().date(), date_column="processed_at", order_by="processed_at DESC, batch_id"
        )
    return dg.MaterializeResult(
        metadata={
            **numbers(report.figures | {"new_alerts": told}),
            "review_queue": dg.MetadataValue.url(review_page(settings)),
            "rejected_by_reason": dg.MetadataValue.json(report.rejected_by_reason),
            "unreadable_files": dg.MetadataValue.json(report.unreadable),
            **table,
        }
    )


@daily_asset(
    "streaming",
    "stream_agreement",
    deps=[PROCESSED_BATCHES, TRANSACTION_FEATURES, DECISIONS],
    kinds=["duckdb"],
)
def stream_agreement(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult:
    """Agreement of stream and batch on the day's transactions: decisions side by side, and for every feature (in
    `streaming.feature_differences`) how often and how far the stream, which sees rows as they arrive, differs from
    the day, which sees them in order of time. Without rows out of order, nothing differs."""
    from fraud_pipelines.streaming.agreement import AGREEMENT_TABLE, compare_day

    day = partition_day(context)
    with warehouse.connect() as connection:
        found = compare_day(warehouse, day)
        table = table_metadata(connection, AGREEMENT_TABLE, day=day)
    differing = found.differences.filter(found.differences["differing"] > 0).sort("differing", descending=True)
    return dg.MaterializeResult(
        metadata={
            **numbers({"agreement": found.agreement}),
            **numbers(found.day.drop("event_date").row(0, named=True)),
            "differing": markdown_table(differing.drop("event_date")),
            **table,
        }
    )
