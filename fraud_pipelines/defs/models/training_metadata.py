"""What the page of a model's asset shows of its training."""

from typing import TYPE_CHECKING

import dagster as dg

from fraud_pipelines.defs.metadata import image, markdown_table, numbers
from fraud_pipelines.pages import run_page, version_page
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry

if TYPE_CHECKING:
    from fraud_pipelines.detection.daily_models import TrainedModel

_SHOWN = (
    "backtest_average_precision",
    "backtest_precision",
    "backtest_recall",
    "backtest_roc_auc",
    "training_alert_share",
)
"""Of the metrics; MLflow has them all."""
_ROWS_SHOWN = 10


def training_metadata(
    trained: "TrainedModel", settings: Settings, registry: ModelRegistry
) -> dict[str, dg.MetadataValue | str | bool]:
    """Version, metrics, days and figures; the rest is in MLflow, a link away."""
    version = trained.version
    return {
        "model": f"{version.name}/{version.version}",
        "mlflow_version": dg.MetadataValue.url(version_page(settings, version.name, version.version)),
        "mlflow_run": dg.MetadataValue.url(run_page(settings, registry.experiment_id, version.run_id)),
        **numbers({name: trained.report.metrics[name] for name in _SHOWN if name in trained.report.metrics}),
        **numbers(trained.counts),
        "trained_from": trained.days[0],
        "trained_to": trained.days[1],
        "bootstrap": trained.bootstrap,
        "reused": trained.reused,
        "left_out": dg.MetadataValue.json(trained.left_out),
        **{name: markdown_table(rows.head(_ROWS_SHOWN)) for name, rows in trained.report.tables.items()},
        **{name: image(svg, name) for name, svg in trained.report.figures.items()},
    }
