"""All models side by side."""

import dagster as dg

from fraud_pipelines.defs.daily_asset import daily_asset
from fraud_pipelines.defs.keys import LABELS, TRANSACTION_SCORES
from fraud_pipelines.defs.metadata import image, numbers, partition_day, table_metadata
from fraud_pipelines.defs.partitions import matured_window
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse


@daily_asset(
    "monitoring",
    "model_comparison",
    deps=[dg.AssetDep(TRANSACTION_SCORES, partition_mapping=matured_window), LABELS],
    kinds=["duckdb", "polars"],
)
def model_comparison(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """Every model over the days whose labels have had time to arrive, as of the day, ranked by average precision,
    with the amount alone beside them: a model below that is worth nothing."""
    from fraud_pipelines.decisions.configuration import policy_in_force
    from fraud_pipelines.evaluation.comparison import compare_as_of, comparison_rows
    from fraud_pipelines.evaluation.figures import calibration_by_band, daily_lines

    day = partition_day(context)
    with warehouse.connect(read_only=True):
        found = compare_as_of(warehouse, settings, day, alert_share=policy_in_force(settings).contamination)
        rows = comparison_rows(warehouse, settings, day, found)
    name = "monitoring.model_comparison"
    with warehouse.connect() as connection:
        warehouse.overwrite(name, rows, as_of=day)
        table = table_metadata(connection, name, day=day, date_column="as_of", order_by='"rank"')
    if rows.is_empty():
        context.log.info(f"no day has matured by {day}: labels are given {settings.label_delay_days} days to arrive")
        return dg.MaterializeResult(metadata=table)
    precision = found.days.rename({"average_precision": "value"})
    return dg.MaterializeResult(
        metadata={
            "by_day": image(daily_lines(precision, "Average precision of each day", "average precision")),
            "calibration": image(calibration_by_band(found.bands)),
            **numbers({f"average_precision {each}": value for each, value in found.average_precision().items()}),
            **table,
        }
    )
