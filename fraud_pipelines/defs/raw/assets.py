"""The raw layer: transactions as they were accepted from the landing zone."""

from collections import Counter

import dagster as dg

from fraud_pipelines.defs.daily_asset import blocking_check, daily_asset, verdict, warning_check
from fraud_pipelines.defs.keys import TRANSACTIONS
from fraud_pipelines.defs.metadata import markdown_table, numbers, partition_day, table_metadata, utc_now
from fraud_pipelines.defs.telling import tell_of_landing
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import select
from fraud_pipelines.storage.integrity import content_version, key_defects
from fraud_pipelines.storage.warehouse import Warehouse

KEYS_ARE_SOUND = blocking_check(
    TRANSACTIONS, "transaction_ids_are_unique", "Every transaction of the day has an id of its own."
)
DAY_IS_FRESH = warning_check(
    TRANSACTIONS,
    "no_earlier_day_is_stale",
    "No processed day waits for a rerun because transactions or labels arrived late for it.",
)


@daily_asset("raw", "transactions", checks=[KEYS_ARE_SOUND, DAY_IS_FRESH])
def transactions(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """Transactions of the day. Takes in every file that waits in the landing zone, whatever days it
    holds; rows that fail validation are kept in `raw.rejected_transactions` with their reason."""
    from fraud_pipelines.plan.compile import plan_in_force
    from fraud_pipelines.transactions.currency import take_in_rates
    from fraud_pipelines.transactions.days import require_transactions
    from fraud_pipelines.transactions.landing import land_pending_transactions

    day, plan = partition_day(context), plan_in_force(settings)
    take_in_rates(
        warehouse, base=settings.base_currency, rates_file=settings.rates_file, landing=settings.landing_rates
    )
    landed = land_pending_transactions(
        warehouse,
        settings.landing_transactions,
        clock=utc_now,
        skew=settings.clock_skew,
        max_age_years=settings.max_age_years,
        attributes=plan.attributes,
    )
    for report in landed.reports:
        context.log.info(str(report))
    tell_of_landing(context, settings, warehouse, settings.landing_transactions.name, landed.problems)
    landed.require_usable()
    with warehouse.connect(read_only=True) as connection:
        require_transactions(connection, day)
        defects = key_defects(connection, "raw.transactions", ["transaction_id"], event_date=day)
        stale = select(
            connection,
            "SELECT event_date, reason, marked_at FROM raw.stale_days WHERE event_date < ? ORDER BY ALL",
            [day],
        )
        content = content_version(connection, "raw.transactions", without=["ingested_at", "source"], event_date=day)
        table = table_metadata(connection, "raw.transactions", day=day, order_by='"timestamp"', plan=plan)
    reasons = sum((Counter(report.rejected_by_reason) for report in landed.reports), Counter[str]())
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content),
        metadata={
            **numbers({"files_landed": len(landed.reports), "rows_rejected": reasons.total()}),
            "rejected_by_reason": dg.MetadataValue.json(dict(reasons)),
            "landing_problems": dg.MetadataValue.json(landed.problems),
            **table,
        },
        check_results=[
            verdict(
                KEYS_ARE_SOUND,
                not defects,
                numbers({"duplicated_ids": defects.duplicated, "missing_ids": defects.null}),
            ),
            verdict(DAY_IS_FRESH, stale.is_empty(), {"stale_days": markdown_table(stale)}),
        ],
    )
