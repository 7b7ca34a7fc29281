"""A connection to the tables of a lake: reads its snapshot, and keeps what is written until the transaction ends."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from fraud_pipelines.storage.connection import Column, FileConnection, Parameters
from fraud_pipelines.storage.lake.catalogue import Catalogue
from fraud_pipelines.storage.lake.delta import LakeFile, folder_of
from fraud_pipelines.storage.lake.engine import (
    FILE_COLUMN,
    MANY_SMALL,
    Engine,
    FileWriter,
    pending,
    scan,
    small_files,
    view,
)
from fraud_pipelines.storage.lake.snapshot import Change, Snapshot, commit


class LakeConnection(FileConnection):
    """A `Connection` to a snapshot of a lake.

    What a transaction writes lies in tables of the engine; a file of which it removes or changes rows is read into
    them first, and is no longer a part of the table. `commit` writes them as files. DuckDB's own transaction around it
    is only ever rolled back, which empties these tables and lets all names mean the snapshot again.
    """

    def __init__(self, engine: Engine, snapshot: Snapshot) -> None:
        super().__init__(engine.connection.cursor())
        self._engine = engine
        self.writing = False
        """Whether a transaction is open: only then there is something to write to."""
        self.show(snapshot)

    def show(self, snapshot: Snapshot) -> None:
        """Go over to a snapshot, outside of a transaction."""
        self._engine.show(snapshot)
        self.snapshot = snapshot
        self.begin()

    def begin(self) -> None:
        """Forget what a transaction has written."""
        self.catalogue: Catalogue = self.snapshot.catalogue
        self._files: dict[str, list[LakeFile]] = {}
        self._written: set[str] = set()

    def close(self) -> None:
        """Close this connection, not the engine."""
        self._connection.close()

    def tables(self) -> list[str]:
        return sorted(self.catalogue.tables)

    def columns(self, table: str) -> list[Column]:
        found = self.catalogue.tables.get(table)
        return list(found.columns) if found else super().columns(table)

    def append(self, table: str, query: str, parameters: Parameters = ()) -> None:
        super().append(self._target(table), query, parameters)

    def delete(self, table: str, condition: str, parameters: Parameters = ()) -> None:
        if table not in self.catalogue.tables:
            super().delete(table, condition, parameters)
            return
        hits = self._hits(table, condition, parameters)
        super().delete(self._target(table), condition, parameters)
        partly = [file for file, rows in hits.items() if rows < file.rows]
        self._take_over(table, partly, f"WHERE ({condition}) IS NOT TRUE", parameters)
        self._leave_out(table, hits)

    def update(
        self, table: str, assignments: str, condition: str, parameters: Parameters = (), *, using: str = ""
    ) -> None:
        if table in self.catalogue.tables:
            asked = parameters
            if not isinstance(parameters, Mapping):
                asked = list(parameters)[assignments.count("?") :]
            hits = self._hits(table, condition, _named_in(condition, asked), using=using)
            self._take_over(table, list(hits))
            self._leave_out(table, hits)
        super().update(self._target(table), assignments, condition, parameters, using=using)

    def create_table(self, table: str, columns: Mapping[str, str], *, required: Iterable[str] = ()) -> None:
        demanded = set(required)
        self.define(table, [Column(name, kind, name in demanded) for name, kind in columns.items()])

    def drop_table(self, table: str) -> None:
        self.execute(f"DROP VIEW {table}")
        self.execute(f"DROP TABLE {pending(table)}")
        self.catalogue = self.catalogue.without(table)
        self._written.discard(table)

    def add_column(self, table: str, column: str, kind: str) -> None:
        self.define(table, [*self.columns(table), Column(column, kind)])

    def comment(self, table: str, column: str, text: str) -> None:
        if table in self.catalogue.tables:
            columns = (replace(each, comment=text) if each.name == column else each for each in self.columns(table))
            self.catalogue = self.catalogue.with_table(table, columns)

    def define(self, table: str, columns: Sequence[Column]) -> None:
        """Create a table with these columns, or give one that is there further ones; its rows stay."""
        before = self.catalogue.tables.get(table)
        self.catalogue = self.catalogue.with_table(table, columns)
        if before is None:
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {table.partition('.')[0]}")
        if before is None or not self.execute(f"SELECT 1 FROM {pending(table)} LIMIT 1").fetchall():
            self.execute(f"DROP TABLE IF EXISTS {pending(table)}")
            self.execute(self.catalogue.tables[table].definition(pending(table)))
        else:
            known = set(before.names)
            for column in self.columns(table):
                if column.name not in known:
                    default = f" DEFAULT {column.default}" if column.default else ""
                    self.execute(f'ALTER TABLE {pending(table)} ADD COLUMN "{column.name}" {column.kind}{default}')
        self._show_table(table)

    def set_objects(self, objects: Sequence[str]) -> None:
        """Replace the views and macros."""
        self.catalogue = Catalogue(self.catalogue.tables, tuple(objects))
        for statement in objects:
            self.execute(statement)

    def put_together(self, table: str, files: Sequence[LakeFile]) -> None:
        """Let the transaction write the rows of ``files`` anew; they are all of one partition."""
        self._take_over(table, files)
        self._leave_out(table, files)

    def commit(self) -> Snapshot:
        """Store what was written since `begin`, all of it or nothing; returns the state with it.

        Raises:
            WriteConflict: another writer was faster.
        """
        writer = FileWriter(self._connection, self.snapshot)
        changes = {table: self._write(table, writer) for table in sorted(self._written)}
        changes = {table: change for table, change in changes.items() if change.added or change.removed}
        if not changes and self.catalogue == self.snapshot.catalogue:
            return self.snapshot
        return commit(self.snapshot, changes, self.catalogue)

    def _write(self, name: str, writer: FileWriter) -> Change:
        table = self.catalogue.tables[name]
        before, kept = set(self.snapshot.files(name)), self._files_of(name)
        change = Change(removed=before - set(kept))
        small = small_files(kept)
        for partition, condition in self._pending_partitions(name, table.partition):
            query = f"FROM {pending(name)} {condition}"
            earlier = small.get(partition, [])
            if len(earlier) >= MANY_SMALL:
                change.removed.update(earlier)
                query = f"{scan(self.snapshot.root, name, table, earlier)} UNION ALL {query}"
            change.added.append(writer.write(name, table, query, partition))
        return change

    def _pending_partitions(self, name: str, column: str | None) -> list[tuple[str | None, str]]:
        """Each partition that has rows, with the condition that tells them."""
        if column is None:
            found = self.execute(f"SELECT 1 FROM {pending(name)} LIMIT 1").fetchall()
            return [(None, "")] if found else []
        days = self.execute(f'SELECT DISTINCT "{column}"::VARCHAR FROM {pending(name)} ORDER BY 1').fetchall()
        return [(day, f"WHERE \"{column}\" = '{day}'::DATE") for (day,) in days]

    def _files_of(self, table: str) -> list[LakeFile]:
        if table not in self._files:
            self._files[table] = list(self.snapshot.files(table))
        return self._files[table]

    def _target(self, table: str) -> str:
        if table not in self.catalogue.tables:
            return table
        if not self.writing:
            raise RuntimeError(f"{table} is written to outside of a transaction")
        self._written.add(table)
        return pending(table)

    def _hits(self, table: str, condition: str, parameters: Parameters, *, using: str = "") -> dict[LakeFile, int]:
        """The files with rows for which the condition holds → how many."""
        files = self._files_of(table)
        if not files:
            return {}
        rows = scan(self.snapshot.root, table, self.catalogue.tables[table], files, told=True)
        source = f"({rows}) AS stored" + (f", {using}" if using else "")
        query = f"SELECT {FILE_COLUMN}, count(*) FROM {source} WHERE {condition} GROUP BY ALL"
        found = dict(self.execute(query, parameters).fetchall())
        folder = folder_of(self.snapshot.root, table)
        return {file: found[path] for file in files if (path := str(folder / file.path)) in found}

    def _take_over(
        self, table: str, files: Sequence[LakeFile], condition: str = "", parameters: Parameters = ()
    ) -> None:
        if files:
            rows = scan(self.snapshot.root, table, self.catalogue.tables[table], files)
            super().append(self._target(table), f"SELECT * FROM ({rows}) AS stored {condition}", parameters)

    def _leave_out(self, table: str, files: Iterable[LakeFile]) -> None:
        gone = set(files)
        if gone:
            self._target(table)
            self._files[table] = [file for file in self._files_of(table) if file not in gone]
            self._show_table(table)

    def _show_table(self, table: str) -> None:
        self.execute(view(self.snapshot.root, table, self.catalogue.tables[table], self._files_of(table)))


def _named_in(query: str, parameters: Parameters) -> Parameters:
    """Of named parameters those that the query has; DuckDB refuses any others."""
    if not isinstance(parameters, Mapping):
        return parameters
    return {name: value for name, value in parameters.items() if re.search(rf"\${re.escape(name)}\b", query)}
