"""What the page of a model's asset shows of its training."""

from typing import TYPE_CHECKING

import dagster as dg

from fraud_pipelines.defs.metadata import image, markdown_table, numbers

if TYPE_CHECKING:
    from fraud_pipelines.detection.daily import TrainedModel, TrainingPlan


def training_metadata(plan: "TrainingPlan", trained: "TrainedModel") -> dict[str, dg.MetadataValue | str | bool]:
    """Rows, days, version, metrics and figures."""
    version = trained.version
    return {
        **numbers(
            {
                "training_rows": plan.features.height,
                "rows_in_window": plan.rows_in_window,
                "training_days": len(plan.window.days),
            }
        ),
        **numbers(trained.report.metrics),
        "model": f"{version.name}/{version.version}",
        "mlflow_run": version.run_id,
        "trained_from": plan.window.days[0].isoformat(),
        "trained_to": plan.window.days[-1].isoformat(),
        "bootstrap": plan.window.bootstrap,
        "reused": trained.reused,
        "left_out": dg.MetadataValue.json(dict(trained.left_out)),
        **{name: markdown_table(rows) for name, rows in trained.report.tables.items()},
        **{name: image(svg, name) for name, svg in trained.report.figures.items()},
    }
