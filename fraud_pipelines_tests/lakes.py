"""All tests on the lake: with ``FRAUD_TEST_WAREHOUSE=lake``, what they open as a DuckDB file is a lake in a folder.

What they write by SQL of their own, as only tests may, is done by the operations of the connection. Tests fail there
that make or drop tables by SQL, open a warehouse of an earlier release, ask DuckDB's catalogue, or lock the file.
"""

import os
import re
import shutil
from pathlib import Path
from typing import Any, Final
from unittest import mock

from fraud_pipelines.storage import opening
from fraud_pipelines.storage.connection import Parameters

ON_LAKE: Final = os.environ.get("FRAUD_TEST_WAREHOUSE") == "lake"

_WRITE: Final = re.compile(r"\s*(INSERT INTO|DELETE FROM|UPDATE|ALTER TABLE)\s+([a-z_]+\.\w+)\s*(.*)", re.DOTALL)
_ADD_COLUMN: Final = re.compile(r'ADD COLUMN "?(\w+)"? (.+)')


def copied(source: Path, target: Path) -> Path:
    """A copy of a warehouse, a file or a folder, under that name; in a folder that is there under its own."""
    if target.is_dir():
        target /= source.name
    if source.is_dir():
        return Path(shutil.copytree(source, target, dirs_exist_ok=True))
    return Path(shutil.copy(source, target))


def let_everything_be_a_lake() -> None:
    """In this process, from now on."""
    from fraud_pipelines.storage.lake.connection import LakeConnection

    plain = LakeConnection.execute

    def execute(self: LakeConnection, query: str, parameters: Parameters = ()) -> Any:
        found = _WRITE.fullmatch(query)
        if not found or found[2] not in self.catalogue.tables:
            return plain(self, query, parameters)
        verb, table, rest = found.groups()
        if verb == "INSERT INTO":
            return plain(self, f"INSERT INTO {self._target(table)} {rest}", parameters)
        if verb == "DELETE FROM":
            return self.delete(table, rest.removeprefix("WHERE") or "true", parameters)
        if verb == "UPDATE":
            assignments, _, condition = rest.removeprefix("SET").partition("WHERE")
            return self.update(table, assignments, condition or "true", parameters)
        added = _ADD_COLUMN.fullmatch(rest)
        assert added, query
        return self.add_column(table, *added.groups())

    mock.patch.object(opening, "FILE_SUFFIX", ".file").start()
    mock.patch.object(LakeConnection, "execute", execute).start()
