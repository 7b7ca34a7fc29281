"""What travels with a model into MLflow, so that ``mlflow models serve`` works without this project installed."""

import ast
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

_ENTRY: Final = "fraud_pipelines.detection.pyfunc"


def _sources(package: Path) -> dict[str, Path]:
    """The modules that the entry imports, and what those import, by their place below the package's parent."""
    found: dict[str, Path] = {}
    waiting = [_ENTRY]
    while waiting:
        parts = waiting.pop().split(".")[1:]
        paths = [package.joinpath(*parts[:depth], "__init__.py") for depth in range(len(parts) + 1)]
        paths += [package.joinpath(*parts).with_suffix(".py")] if parts else []
        for path in paths:
            place = str(path.relative_to(package.parent))
            if place in found or not path.exists():
                continue
            found[place] = path
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == package.name:
                    waiting += [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
    return found


def serving_code(model: FraudModel, example: pl.DataFrame) -> ServingCode:
    """The code of this package that scoring needs, and the model's signature by example.

    Args:
        model: the model to serve.
        example: a few rows with at least the model's features.
    """
    package = Path(fraud_pipelines.__file__).parent
    features = example.select(list(model.schema)).with_columns(pl.selectors.numeric().cast(pl.Float64))
    requirements = (*_REQUIREMENTS, *backend_by_name(model.backend).scored_by)
    return ServingCode(
        loader_module=_ENTRY,
        files=_sources(package),
        pip_requirements=tuple(f"{name}=={importlib.metadata.version(name)}" for name in requirements),
        input_example=features,
        output_example=model.score(features),
    )
