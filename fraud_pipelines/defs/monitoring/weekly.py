"""The report of a week, made on the Monday after it."""

import dagster as dg

from fraud_pipelines.defs.daily_asset import layer_asset
from fraud_pipelines.defs.jobs import QUIET
from fraud_pipelines.defs.keys import DECISION_OUTCOMES, DECISIONS, MODEL_PERFORMANCE, WEEKLY_FIGURES
from fraud_pipelines.defs.metadata import numbers, partition_day
from fraud_pipelines.defs.partitions import days_of_the_week, weekly_partitions
from fraud_pipelines.defs.times import WEEKLY_AT
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse


@layer_asset(
    *WEEKLY_FIGURES.path,
    deps=[
        dg.AssetDep(key, partition_mapping=days_of_the_week)
        for key in (DECISIONS, DECISION_OUTCOMES, MODEL_PERFORMANCE)
    ],
    kinds=["duckdb", "html"],
    partitions=weekly_partitions,
)
def weekly_figures(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """How the week from this Monday on went, by what was known at its end: alerts, precision, recall, value saved and
    lost, by day, kind of fraud, merchant, country, model and rule, reviewers, dispute ratios, and the fraud rate by
    value. The page lies in `reports/` in the data directory; `fraud-pipelines report` writes it, too."""
    from fraud_pipelines.evaluation.weekly.rendering import as_markdown
    from fraud_pipelines.evaluation.weekly.report import weekly_report
    from fraud_pipelines.evaluation.weekly.storing import store_figures, write_page

    report = weekly_report(warehouse, settings, partition_day(context))
    figures = store_figures(warehouse, report)
    page = write_page(report, settings.reports_dir)
    return dg.MaterializeResult(
        metadata={
            **numbers({"figures": figures}),
            "page": dg.MetadataValue.path(page),
            "report": dg.MetadataValue.md(as_markdown(report)),
        }
    )


weekly_report_job = dg.define_asset_job(
    name="weekly_report_job",
    selection=dg.AssetSelection.assets(WEEKLY_FIGURES),
    partitions_def=weekly_partitions,
    executor_def=dg.in_process_executor,
    config=QUIET,
    description="The report of a week: its figures, and a page.",
)

weekly_report_schedule = dg.build_schedule_from_partitioned_job(
    weekly_report_job,
    name="weekly_report_schedule",
    hour_of_day=WEEKLY_AT.hour,
    minute_of_hour=WEEKLY_AT.minute,
    description="05:00 UTC on Mondays: the week that ended with Sunday, when that day has been run.",
)
