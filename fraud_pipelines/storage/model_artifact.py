"""The files of a registered version: the model folder, and what ``mlflow.pyfunc`` needs to load it elsewhere."""

import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

MODEL_FOLDER: Final = "data/fraud_model"
"""Where the model folder lies within the artifact of a version."""


@dataclass(frozen=True)
class ServingCode:
    """What makes a version loadable by ``mlflow.pyfunc`` where this project isn't installed."""

    loader_module: str
    """Module whose ``_load_pyfunc(folder)`` returns an object with ``predict(frame)``."""
    files: Mapping[str, Path]
    """The code that travels along: place below the code folder → file to copy."""
    pip_requirements: tuple[str, ...]
    input_example: pl.DataFrame
    output_example: pl.DataFrame


def write_artifact(target: Path, folder: Path, *, model: "LoggedModel", serving: ServingCode | None) -> None:
    """Lay out the artifact of ``model`` in ``target``, which must not exist yet; ``folder`` is copied into it."""
    if serving is None:
        shutil.copytree(folder, target / MODEL_FOLDER)
        return
    import mlflow.pyfunc
    from mlflow.models import Model, infer_signature

    staging = target.with_name(target.name + "-staging")
    try:
        code = staging / "code"
        for place, source in serving.files.items():
            (code / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, code / place)
        # MLflow names the data within the artifact after the folder it is given.
        data = staging / Path(MODEL_FOLDER).name
        data.symlink_to(folder.resolve(), target_is_directory=True)
        example = serving.input_example.to_pandas()
        with warnings.catch_warnings():
            # MLflow 3.17 compares column names in a way that pandas 4 will read otherwise.
            warnings.filterwarnings("ignore", message="Operation with range is deprecated")
            mlflow.pyfunc.save_model(
                target,
                loader_module=serving.loader_module,
                data_path=str(data),
                code_paths=sorted(str(path) for path in code.iterdir()),
                mlflow_model=Model(
                    artifact_path=model.artifact_location,
                    run_id=model.source_run_id,
                    model_uuid=model.model_id,
                    model_id=model.model_id,
                ),
                signature=infer_signature(example, serving.output_example.to_pandas()),
                input_example=example,
                pip_requirements=list(serving.pip_requirements),
            )
    finally:
        shutil.rmtree(staging, ignore_errors=True)
