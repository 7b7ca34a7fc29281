"""The catalogue of a lake: which tables it has, with their columns, and the views and macros over them."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Self

from fraud_pipelines.storage.connection import Column, Connection

PARTITION_COLUMNS: Final = ("event_date", "as_of", "outcome_date")
"""A table lies in a folder for each value of the first of these that it has in every row."""

_OBJECTS: Final = re.compile(r"^CREATE OR REPLACE (?:VIEW|MACRO) .*?;$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Table:
    """The columns of a table, in order."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def partition(self) -> str | None:
        """The column by whose values the rows lie in folders; None where the table isn't divided."""
        required = {column.name for column in self.columns if column.required}
        return next((name for name in PARTITION_COLUMNS if name in required), None)

    def definition(self, name: str) -> str:
        """The statement that creates an empty table of that name."""
        columns = (
            f'"{column.name}" {column.kind}'
            + (f" DEFAULT {column.default}" if column.default else "")
            + (" NOT NULL" if column.required else "")
            for column in self.columns
        )
        return f"CREATE TABLE {name} ({', '.join(columns)})"


@dataclass(frozen=True)
class Catalogue:
    """All tables by their names ``schema.table``, and ``objects``: the statements that make views and macros."""

    tables: Mapping[str, Table] = field(default_factory=dict)
    objects: tuple[str, ...] = ()

    @classmethod
    def of(cls, connection: Connection, schema_sql: str) -> Self:
        """What the connection has, with the views and macros of the text of ``schema.sql``."""
        tables = {name: Table(tuple(connection.columns(name))) for name in connection.tables()}
        return cls(tables, tuple(_OBJECTS.findall(schema_sql)))

    @property
    def schemas(self) -> set[str]:
        """The schemas of all tables."""
        return {name.partition(".")[0] for name in self.tables}

    def with_table(self, name: str, columns: Iterable[Column]) -> "Catalogue":
        """This one with a table of these columns, in place of one of that name."""
        return Catalogue({**self.tables, name: Table(tuple(columns))}, self.objects)

    def without(self, name: str) -> "Catalogue":
        """This one without a table."""
        return Catalogue({each: table for each, table in self.tables.items() if each != name}, self.objects)

    def to_json(self) -> str:
        """As text; equal catalogues have equal texts."""
        tables = {
            name: [list(asdict(column).values()) for column in table.columns]
            for name, table in sorted(self.tables.items())
        }
        return json.dumps({"tables": tables, "objects": self.objects}, indent=0)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The catalogue of such a text."""
        content = json.loads(text)
        tables = {
            name: Table(tuple(Column(*column) for column in columns)) for name, columns in content["tables"].items()
        }
        return cls(tables, tuple(content["objects"]))


def digest(text: str) -> str:
    """What names a text by its content."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
