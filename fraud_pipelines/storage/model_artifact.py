"""The files of a registered version: the model folder, and what ``mlflow.pyfunc`` needs to load it elsewhere."""

import hashlib
import os
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

MODEL_FOLDER: Final = "data/fraud_model"
"""Where the model folder lies within the artifact of a version."""
ARCHIVE: Final = "code/model_code.zip"
"""The code that travels along, within the artifact: one file, since there is a version a day."""
SHARED_CODE: Final = "shared_code"
"""Below the root of the artifacts: the archives that versions share, each named by the hash of its content."""

_LOADER: Final = "packed_model"
_LOADER_TEXT: Final = '''\
"""Loads a model by the code in the archive beside this file."""

import sys
from pathlib import Path

_ARCHIVE = str(Path(__file__).with_name("{archive}"))
if _ARCHIVE not in sys.path:
    sys.path.insert(0, _ARCHIVE)

from {module} import _load_pyfunc  # noqa: E402, F401
'''
"""The module that MLflow imports."""


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


def write_artifact(
    target: Path, folder: Path, *, model: "LoggedModel", serving: ServingCode | None, shared: Path | None = None
) -> None:
    """Lay out the artifact of ``model`` in ``target``, which must not exist yet; ``folder`` is copied into it.

    Args:
        shared: where versions of the same code share its file, by a hard link; without it, the artifact has its own.
    """
    if serving is None:
        shutil.copytree(folder, target / MODEL_FOLDER)
        return
    import mlflow.pyfunc
    from mlflow.models import Model, infer_signature

    staging = target.with_name(target.name + "-staging")
    try:
        code = staging / "code"
        code.mkdir(parents=True)
        archive = code / Path(ARCHIVE).name
        _pack(archive, serving.files)
        (code / f"{_LOADER}.py").write_text(_LOADER_TEXT.format(archive=archive.name, module=serving.loader_module))
        # MLflow names the data within the artifact after the folder it is given.
        data = staging / Path(MODEL_FOLDER).name
        data.symlink_to(folder.resolve(), target_is_directory=True)
        example = serving.input_example.to_pandas()
        with warnings.catch_warnings():
            # MLflow 3.17 compares column names in a way that pandas 4 will read otherwise.
            warnings.filterwarnings("ignore", message="Operation with range is deprecated")
            mlflow.pyfunc.save_model(
                target,
                loader_module=_LOADER,
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
        if shared:
            _share(target / ARCHIVE, shared)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _pack(archive: Path, files: Mapping[str, Path]) -> None:
    """Pack the files; the same content gives the same bytes."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for place, source in sorted(files.items()):
            packed.writestr(zipfile.ZipInfo(place), source.read_bytes(), zipfile.ZIP_DEFLATED)


def _share(archive: Path, shared: Path) -> None:
    """Let ``archive`` be the same file on the disk as that of its content in ``shared``, which is made if need be.

    MLflow shows no link that leads out of an artifact, so it is a hard one. Where the file system has none, the
    artifact keeps a file of its own.
    """
    kept = shared / f"{hashlib.sha256(archive.read_bytes()).hexdigest()}.zip"
    link = archive.with_suffix(".link")
    try:
        shared.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.link(archive, kept)
            return
        os.link(kept, link)
    except OSError:
        return
    link.replace(archive)
