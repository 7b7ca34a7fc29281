"""The features layer: every transaction's behavioural features, folded from its history."""

from datetime import date

import dagster as dg
from pydantic import Field

from fraud_pipelines.defs.daily_asset import blocking_check, daily_asset, verdict
from fraud_pipelines.defs.keys import LABELS, TRANSACTION_FEATURES, TRANSACTIONS
from fraud_pipelines.defs.metadata import numbers, partition_day, shard_costs, table_metadata
from fraud_pipelines.defs.partitions import the_day_before
from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.features.tables import KEY_DESCRIPTIONS
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.integrity import count_rows, key_defects
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.kinds import PAYMENTS

ROWS_ARE_COMPLETE = blocking_check(
    TRANSACTION_FEATURES, "every_transaction_has_features", "As many rows of features as transactions of the day."
)
KEYS_ARE_SOUND = blocking_check(
    TRANSACTION_FEATURES, "transaction_ids_are_unique", "Every transaction has one row of features, under its id."
)


class FeatureConfig(dg.Config):
    """What may be asked of a run besides its day."""

    with_earlier: bool = Field(
        default=False,
        description="Derive the features of earlier days first that have transactions and no features. Without it, "
        "a day after such days is refused.",
    )


@daily_asset(
    "features",
    "transaction_features",
    # The day before is the asset itself: a day's features start from the histories that day left behind.
    deps=[TRANSACTIONS, LABELS, dg.AssetDep(TRANSACTION_FEATURES, partition_mapping=the_day_before)],
    kinds=["duckdb", "polars"],
    checks=[ROWS_ARE_COMPLETE, KEYS_ARE_SOUND],
)
def transaction_features(
    context: dg.AssetExecutionContext,
    config: FeatureConfig,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
    engine: dg.ResourceParam[Engine],
) -> dg.MaterializeResult:
    """Features of the day's transactions: velocity, lags, time, geography, and the user's own habits, computed
    by one fold over each user's history. They see nothing later than the transaction itself."""
    from fraud_pipelines.features.derivation import derive_day, derive_earlier_days

    day, plan = partition_day(context), plan_in_force(settings)
    if config.with_earlier:
        for earlier in derive_earlier_days(warehouse, day, plan=plan, engine=engine):
            context.log_event(derived_day(earlier.day, earlier.rows))
    report = derive_day(warehouse, day, plan=plan, engine=engine)
    if report.uncomputable:
        context.log.warning(f"null, since the transactions lack their columns: {', '.join(report.uncomputable)}")
    name = "features.transaction_features"
    with warehouse.connect(read_only=True) as connection:
        rows, transactions = (count_rows(connection, each, event_date=day) for each in (name, PAYMENTS))
        defects = key_defects(connection, name, ["transaction_id"], event_date=day)
        table = table_metadata(connection, name, day=day, order_by='"timestamp"', reads=_reads(plan), plan=plan)
    return dg.MaterializeResult(
        metadata={
            **numbers({"users": report.users, "new_users": report.new_users, "features": len(report.nulls)}),
            "unavailable_features": dg.MetadataValue.json(report.uncomputable),
            **shard_costs(engine),
            "nulls": dg.MetadataValue.json({name: count for name, count in report.nulls.items() if count}),
            **table,
        },
        check_results=[
            verdict(ROWS_ARE_COMPLETE, rows == transactions, numbers({"rows": rows, "transactions": transactions})),
            verdict(KEYS_ARE_SOUND, not defects, numbers({"duplicated": defects.duplicated, "null": defects.null})),
        ],
    )


def _reads(plan: Plan) -> dict[str, list[dg.TableColumnDep]]:
    """The columns that each feature is computed from, and each key column."""
    keys = {name: [dg.TableColumnDep(TRANSACTIONS, name)] for name in KEY_DESCRIPTIONS}
    reads = plan.lineage()
    return keys | {
        name: [
            *(dg.TableColumnDep(TRANSACTIONS, column) for column in read.transactions),
            *(dg.TableColumnDep(LABELS, column) for column in read.labels),
        ]
        for name, read in reads.items()
    }


def derived_day(day: date, rows: int) -> dg.AssetMaterialization:
    """What tells Dagster that a day's features were derived outside of that day's own run."""
    return dg.AssetMaterialization(
        TRANSACTION_FEATURES,
        description="Derived for the sake of a later day.",
        partition=day.isoformat(),
        metadata={"dagster/row_count": rows},
    )
