"""What people open beside a lake: a DuckDB file of views over the files of its last snapshot, under the same names."""

import shutil
from datetime import datetime
from pathlib import Path

import duckdb

from fraud_pipelines.errors import NotPublished
from fraud_pipelines.storage.connection import FileConnection
from fraud_pipelines.storage.lake.engine import PENDING, pending, view
from fraud_pipelines.storage.lake.manifests import Manifests
from fraud_pipelines.storage.lake.snapshot import Snapshot
from fraud_pipelines.storage.lake.warehouse import LakeWarehouse
from fraud_pipelines.storage.publication import FileState, Publication

_NOTE = "main.publication"


class LakePublication(Publication):
    """The lake, and the small DuckDB file that people open; it names the files of the lake, and holds no rows.

    Args:
        lake: the folder of the lake.
        published: what people open, on any file system.
    """

    def __init__(self, lake: Path, published: Path, *, wait_seconds: float = 120.0) -> None:
        self._lake = lake.resolve()
        super().__init__(Manifests(self._lake).folder, published, wait_seconds=wait_seconds)

    def settle(self) -> None:
        """Publish where nothing is published yet."""
        if self.live.exists() and not self.published.exists():
            self.publish_or_tell()

    def copy_to(self, target: Path) -> None:
        """Copy the lake, all its snapshots, to a folder that must not exist; who writes waits."""
        with LakeWarehouse(self._lake, wait_seconds=self._wait_seconds).alone():
            shutil.copytree(self._lake, target)

    def _adopt(self) -> None:
        """A DuckDB file that is there is no lake, and is left as it is until a lake is published in its place."""

    def _live_state(self) -> FileState | None:
        numbers = Manifests(self._lake).numbers()
        return (numbers[-1], 0, 0) if numbers else None

    def _copy(self, begun: datetime, lock: int) -> FileState:  # noqa: ARG002
        manifest = Manifests(self._lake).latest()
        assert manifest
        self._aside.parent.mkdir(parents=True, exist_ok=True)
        self._aside.unlink(missing_ok=True)
        try:
            with duckdb.connect(str(self._aside)) as opened:
                _write(FileConnection(opened), Snapshot.of(self._lake, manifest), begun)
        except duckdb.IOException as error:
            raise NotPublished(f"the views could not be written: {str(error).splitlines()[0]}") from error
        return manifest.number, 0, 0


def _write(connection: FileConnection, snapshot: Snapshot, begun: datetime) -> None:
    catalogue = snapshot.catalogue
    connection.execute("BEGIN")
    for schema in sorted({PENDING, *catalogue.schemas} - {"main"}):
        connection.execute(f"CREATE SCHEMA {schema}")
    for name, table in catalogue.tables.items():
        if name == _NOTE:
            connection.execute(table.definition(name))
            connection.execute(f"INSERT INTO {name} VALUES (?, ?)", [begun, str(snapshot.root)])
        else:
            connection.execute(table.definition(pending(name)))
            connection.execute(view(snapshot.root, name, table, snapshot.files(name)))
        for column in table.columns:
            if column.comment:
                connection.comment(name, column.name, column.comment)
    for statement in catalogue.objects:
        connection.execute(statement)
    connection.execute("COMMIT")
