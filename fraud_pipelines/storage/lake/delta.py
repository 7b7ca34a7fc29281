"""Delta's log of one table: which files a version has, and how it is brought to others. Only here is deltalake used."""

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.storage.lake.catalogue import Table
from fraud_pipelines.storage.lake.manifests import sync

if TYPE_CHECKING:
    from deltalake import DeltaTable

_TYPES: Final = {
    "VARCHAR": "string",
    "DOUBLE": "double",
    "FLOAT": "float",
    "BIGINT": "long",
    "INTEGER": "integer",
    "SMALLINT": "short",
    "TINYINT": "byte",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMP": "timestamp_ntz",
    "BLOB": "binary",
}
"""DuckDB's type → Delta's. Timestamps are naive UTC, which Delta calls those without a time zone."""

_TRIES: Final = 20
_REMEMBERED: Final = 4_000
_CONFIGURATION: Final = {"delta.enableExpiredLogCleanup": "false"}
"""Old versions are named by old manifests: `maintenance.vacuum` decides when they go."""


@dataclass(frozen=True)
class LakeFile:
    """A Parquet file of a table.

    Attributes:
        path: below the table's folder.
        size: in bytes.
        rows: how many.
        partition: the value of the partition column, as text; None where the table isn't divided.
    """

    path: str
    size: int
    rows: int
    partition: str | None = None

    @property
    def order(self) -> str:
        """Files sorted by it have their rows in the order in which they were stored."""
        return self.path.rpartition("/")[2]


_Key = tuple[Path, str, str, int]
"""Folder and name of the lake, table, version: a copy of a lake goes ways of its own under the same name."""
_FILES: "OrderedDict[_Key, tuple[LakeFile, ...]]" = OrderedDict()
"""What a version of a table consists of never changes, so that it is read once."""


def folder_of(root: Path, table: str) -> Path:
    """Where the files of ``schema.table`` lie."""
    return root.joinpath(*table.split("."))


def files_of(root: Path, lake: str, table: str, version: int) -> tuple[LakeFile, ...]:
    """The files of a version, in the order of their rows.

    Raises:
        MissingData: Delta's log doesn't have that version.
    """
    key = (root, lake, table, version)
    if key not in _FILES:
        from deltalake.exceptions import DeltaError

        try:
            _remember(key, _files(_open(folder_of(root, table), version)))
        except DeltaError as error:
            raise MissingData(
                f"The lake {root} lacks version {version} of {table}, which its snapshot names: {error}. Restore the "
                "folder from a backup, or remove the last file of _manifests to go back to the snapshot before."
            ) from error
    _FILES.move_to_end(key)
    return _FILES[key]


def bring_to(root: Path, lake: str, table: str, files: Iterable[LakeFile], definition: Table) -> int:
    """Commit a version that consists of just these ``files``; returns its number.

    What others have left in the log without a manifest of theirs, since they died or were refused, is undone by it.

    Raises:
        InvalidInput: Delta has no type for a column.
    """
    from deltalake.exceptions import CommitFailedError

    folder, wanted = folder_of(root, table), {file.path: file for file in files}
    for attempt in range(_TRIES):
        try:
            found = _with_columns(folder, definition)
            version = _commit(found, wanted, definition)
        except CommitFailedError:  # somebody has committed this version number meanwhile
            time.sleep(0.01 * attempt)
            continue
        sync(folder / "_delta_log" / f"{version:020d}.json")
        _remember((root, lake, table, version), tuple(sorted(wanted.values(), key=lambda file: file.order)))
        return version
    raise MissingData(f"{table} of the lake {root} is committed to all the time by others. Try again.")


def _commit(found: "DeltaTable", wanted: dict[str, LakeFile], definition: Table) -> int:
    from deltalake import CommitProperties, PostCommitHookProperties
    from deltalake.transaction import AddAction, RemoveAction

    present = {file.path: file for file in _files(found)}
    now = int(time.time() * 1000)
    partition = definition.partition
    actions: list[Any] = [
        AddAction(
            path=path,
            size=file.size,
            partition_values={partition: file.partition} if partition else {},
            modification_time=now,
            data_change=True,
            stats=f'{{"numRecords": {file.rows}}}',
        )
        for path, file in wanted.items()
        if path not in present
    ]
    actions += [RemoveAction(path, True, now) for path in present if path not in wanted]
    if not actions:
        return found.version()
    found.create_write_transaction(
        actions,
        mode="append",
        schema=found.schema(),
        partition_by=[partition] if partition else None,
        commit_properties=CommitProperties(max_commit_retries=0),
        post_commithook_properties=PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False),
    )
    return found.version() + 1  # without a further try it has this number or fails


def _with_columns(folder: Path, definition: Table) -> "DeltaTable":
    """The table at its last version with all columns of the definition; created where it is missing."""
    from deltalake import DeltaTable
    from deltalake.schema import Field, Schema

    fields = [Field(column.name, _delta_type(column.name, column.kind)) for column in definition.columns]
    if not DeltaTable.is_deltatable(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        DeltaTable.create(
            str(folder),
            schema=Schema(fields),
            mode="ignore",
            partition_by=[definition.partition] if definition.partition else None,
            configuration=_CONFIGURATION,
        )
    found = _open(folder)
    known = {field.name for field in found.schema().fields}
    missing = [field for field in fields if field.name not in known]
    if missing:
        found.alter.add_columns(missing)
        found = _open(folder)
    return found


def _open(folder: Path, version: int | None = None) -> "DeltaTable":
    from deltalake import DeltaTable

    return DeltaTable(str(folder), version=version)


def _files(found: "DeltaTable") -> tuple[LakeFile, ...]:
    import polars as pl

    adds = pl.DataFrame(found.get_add_actions(flatten=True))
    partition = next(iter(found.metadata().partition_columns), None)
    values = adds[f"partition.{partition}"].cast(pl.String) if partition else [None] * adds.height
    rows = zip(adds["path"], adds["size_bytes"], adds["num_records"], values, strict=True)
    return tuple(sorted((LakeFile(*row) for row in rows), key=lambda file: file.order))


def _delta_type(column: str, kind: str) -> Any:
    from deltalake.schema import ArrayType, PrimitiveType

    if kind.endswith("[]"):
        return ArrayType(_delta_type(column, kind[:-2]), contains_null=True)
    if kind not in _TYPES:
        raise InvalidInput(f"The column {column} is a {kind}, for which the lake has no type.")
    return PrimitiveType(_TYPES[kind])


def _remember(key: _Key, files: Sequence[LakeFile]) -> None:
    _FILES[key] = tuple(files)
    while len(_FILES) > _REMEMBERED:
        _FILES.popitem(last=False)
