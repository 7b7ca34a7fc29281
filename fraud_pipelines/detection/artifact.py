"""A model at rest: a folder with model.json and arrays.npz, each protected by its hash; nothing in it is executed."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.errors import ArtifactRejected

FORMAT_VERSION: Final = 1
MODEL_FILE: Final = "model.json"
ARRAYS_FILE: Final = "arrays.npz"

Json = dict[str, object]


def write_artifact(folder: Path, model: Json, arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """Write both files; the same content gives the same bytes. Returns the digest of the model, a SHA-256.

    ``model.json`` holds the format version, the hash of the arrays, the model, and the hash of all this.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **dict(sorted(arrays.items())))
    content: Json = {
        "format_version": FORMAT_VERSION,
        "files": {ARRAYS_FILE: hashlib.sha256(buffer.getvalue()).hexdigest()},
        **model,
    }
    digest = _digest(content)
    (folder / ARRAYS_FILE).write_bytes(buffer.getvalue())
    (folder / MODEL_FILE).write_text(json.dumps({**content, "sha256": digest}, indent=1) + "\n", encoding="utf-8")
    return digest


def read_artifact(folder: Path, *, digest: str | None = None) -> tuple[Json, dict[str, NDArray[np.generic]]]:
    """Read both files back.

    Args:
        folder: where they are.
        digest: what `write_artifact` returned, if it was kept elsewhere: then the folder can't be exchanged either.

    Raises:
        ArtifactRejected: a file is missing, changed or of another format version; the message names it.
    """
    path = folder / MODEL_FILE
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ArtifactRejected(f"{path} is missing: {folder} is no model folder, or was only half written.") from error
    except ValueError as error:
        raise _changed(path) from error
    if not isinstance(content, dict):
        raise _changed(path)
    stored_digest = content.pop("sha256", None)
    if stored_digest != _digest(content) or digest not in (None, stored_digest):
        raise _changed(path)
    if content["format_version"] != FORMAT_VERSION:
        raise ArtifactRejected(
            f"{path} has format version {content['format_version']}; this code reads version {FORMAT_VERSION}. "
            "Retrain the model, or load it with the release that wrote it."
        )
    files = content["files"]
    for name, expected in files.items():
        file = folder / name
        if not file.is_file():
            raise ArtifactRejected(f"{file} is missing; fetch the model again from the registry, or retrain it.")
        if hashlib.sha256(file.read_bytes()).hexdigest() != expected:
            raise _changed(file)
    try:
        with np.load(folder / ARRAYS_FILE, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise _changed(folder / ARRAYS_FILE) from error
    return content, arrays


def _digest(content: Json) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _changed(path: Path) -> ArtifactRejected:
    return ArtifactRejected(
        f"{path} isn't what was written when the model was saved: it is damaged, or was changed by someone. "
        "It was not loaded. Fetch the model again from the registry, or retrain it."
    )
