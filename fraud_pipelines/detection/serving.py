"""What travels with a model into MLflow, so that ``mlflow models serve`` works without this project installed."""

import importlib.metadata
from pathlib import Path
from typing import Final

import polars as pl

import fraud_pipelines
from fraud_pipelines.detection.backends import backend_by_name
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.storage.model_artifact import ServingCode

_REQUIREMENTS: Final = ("mlflow", "numba", "numpy", "pandas", "polars", "pyarrow", "pydantic")
"""What scoring imports; fitting needs more."""

_STAYS: Final = frozenset(
    {"daily.py", "default_schema.py", "serving.py", "supervised_plan.py", "training.py", "training_log.py"}
)
"""Modules of this package that train and register, and import parts of the project that don't travel."""


def serving_code(model: FraudModel, example: pl.DataFrame) -> ServingCode:
    """The code of this package that scoring needs, and the model's signature by example.

    Args:
        model: the model to serve.
        example: a few rows with at least the model's features.
    """
    package = Path(fraud_pipelines.__file__).parent
    detection = [path for path in sorted((package / "detection").rglob("*.py")) if path.name not in _STAYS]
    sources = [package / "__init__.py", package / "errors.py", *detection]
    features = example.select(list(model.schema)).with_columns(pl.selectors.numeric().cast(pl.Float64))
    requirements = (*_REQUIREMENTS, *backend_by_name(model.backend).scored_by)
    return ServingCode(
        loader_module="fraud_pipelines.detection.pyfunc",
        files={str(path.relative_to(package.parent)): path for path in sources},
        pip_requirements=tuple(f"{name}=={importlib.metadata.version(name)}" for name in requirements),
        input_example=features,
        output_example=model.score(features),
    )
