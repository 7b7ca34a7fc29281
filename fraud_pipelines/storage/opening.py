"""Opens the warehouse that a path names: a DuckDB file, or a lake."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from fraud_pipelines.storage.publication import Publication
from fraud_pipelines.storage.warehouse import Warehouse

FILE_SUFFIX: Final = ".duckdb"


def warehouse_at(path: Path, *, wait_seconds: float = 120.0, prepare: Callable[[], object] | None = None) -> Warehouse:
    """The warehouse at ``path``: a name that ends in ``.duckdb`` is a file, any other the folder of a lake.

    Args:
        path: see `Settings.warehouse_path`.
        wait_seconds, prepare: see `Warehouse`.

    Raises:
        MissingData: it is a lake, and the extra ``lake`` is not installed.
    """
    if path.suffix == FILE_SUFFIX:
        return Warehouse(path, wait_seconds=wait_seconds, prepare=prepare)
    from fraud_pipelines.storage.lake.warehouse import LakeWarehouse

    return LakeWarehouse(path, wait_seconds=wait_seconds, prepare=prepare)


def publication_at(path: Path, published: Path, *, wait_seconds: float = 120.0) -> Publication:
    """What people open of the warehouse at ``path``: a copy of the file, or views over the files of the lake."""
    if path.suffix == FILE_SUFFIX:
        return Publication(path, published, wait_seconds=wait_seconds)
    from fraud_pipelines.storage.lake.publication import LakePublication

    return LakePublication(path, published, wait_seconds=wait_seconds)
