"""What MLflow keeps of a training: parameters, metrics, figures, tables, words, and what was learned from."""

import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

PLOTS: Final = "plots"
"""Where a run keeps its figures."""

DESCRIPTION_TAG: Final = "mlflow.note.content"
_DISTRIBUTION: Final = "fraud-pipelines"


@dataclass(frozen=True)
class TrainingData:
    """The rows that a model learned from, as MLflow's page of the run names them."""

    name: str
    digest: str
    rows: int
    days: int
    first: str
    last: str
    columns: Mapping[str, str]
    """Name → type."""


@dataclass(frozen=True)
class TrainingRecord:
    """What is logged beside a model. Runs compare well where all have the same ``params``, ``metrics`` and figures."""

    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    """One that isn't finite is left out."""
    figures: Mapping[str, str] = field(default_factory=dict)
    """Name → text of an SVG."""
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Name → rows; shown as a table, and compared across runs."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of the run and of the version; ``backend`` names the run together with the day."""
    description: str = ""
    """Of the run and the version."""
    model_description: str = ""
    """Of the registered model."""
    data: TrainingData | None = None


def source_tags() -> dict[str, str]:
    """What MLflow shows as a run's source: this package and its version."""
    release = f"{_DISTRIBUTION} {importlib.metadata.version(_DISTRIBUTION)}"
    return {"mlflow.source.name": release, "mlflow.source.type": "LOCAL"}


def table_tags(tables: Mapping[str, pl.DataFrame]) -> dict[str, str]:
    """What makes MLflow's UI compare the tables of several runs."""
    listed = [{"path": f"{name}.json", "type": "table"} for name in tables]
    return {"mlflow.loggedArtifacts": json.dumps(listed)} if tables else {}


def dataset_input(data: TrainingData) -> "DatasetInput":
    """The training data as the input of a run. MLflow keeps its name, digest, columns and size, and no rows."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = [{"name": name, "type": kind, "required": False} for name, kind in data.columns.items()]
    dataset = Dataset(
        name=data.name,
        digest=data.digest,
        source_type="duckdb",
        source=json.dumps({"table": "features.transaction_features", "from": data.first, "to": data.last}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": data.rows, "num_days": data.days}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def write_record(folder: Path, record: TrainingRecord) -> None:
    """Write the files of a run: figures as ``plots/<name>.svg``, tables as ``<name>.json`` in the form MLflow reads."""
    for name, figure in record.figures.items():
        path = folder / PLOTS / f"{name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(figure, encoding="utf-8")
    for name, rows in record.tables.items():
        folder.mkdir(parents=True, exist_ok=True)
        content = {"columns": rows.columns, "data": [list(row) for row in rows.iter_rows()]}
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
