"""Questions about a table that a check asks: how many rows, how many broken keys."""

from collections.abc import Sequence
from dataclasses import dataclass

from fraud_pipelines.storage.connection import Connection, select


@dataclass(frozen=True)
class KeyDefects:
    """Keys that can't identify a row: how many are there more than once, how many hold a null."""

    duplicated: int
    null: int

    def __bool__(self) -> bool:
        return bool(self.duplicated or self.null)


def count_rows(connection: Connection, table: str, **where: object) -> int:
    """Rows of ``table`` whose columns equal ``where``."""
    frame = select(connection, f"SELECT count(*) FROM {table}{_condition(where)}", list(where.values()))
    return int(frame.item())


def key_defects(connection: Connection, table: str, key: Sequence[str], **where: object) -> KeyDefects:
    """Broken keys among the rows whose columns equal ``where``."""
    columns = ", ".join(key)
    any_null = " OR ".join(f"{column} IS NULL" for column in key)
    frame = select(
        connection,
        f"""
        WITH rows_of_key AS (
            SELECT {any_null} AS has_null, count(*) AS occurrences
            FROM {table}{_condition(where)} GROUP BY {columns}
        )
        SELECT count(*) FILTER (occurrences > 1 AND NOT has_null) AS duplicated,
               coalesce(sum(occurrences) FILTER (has_null), 0) AS null_keys
        FROM rows_of_key
        """,
        list(where.values()),
    )
    duplicated, null = frame.row(0)
    return KeyDefects(duplicated=int(duplicated), null=int(null))


def content_version(connection: Connection, table: str, *, without: Sequence[str], **where: object) -> str:
    """What the rows hold whose columns equal ``where``, their number and a hash.

    Neither the order of the rows counts, nor the columns ``without``: when something was processed is no content.
    """
    rows = f"SELECT * EXCLUDE ({', '.join(without)}) FROM {table}{_condition(where)}"
    version = f"SELECT count(*), coalesce(sum(hash(hash(rows))::HUGEINT), 0) FROM ({rows}) rows"
    count, content = select(connection, version, list(where.values())).row(0)
    return f"{count}-{int(content) % 2**64:016x}"


def _condition(where: dict[str, object]) -> str:
    """Equality for each name; an expression such as ``known_at::DATE`` stands as it is."""
    named = (name if "::" in name else f'"{name}"' for name in where)
    return " WHERE " + " AND ".join(f"{name} = ?" for name in named) if where else ""
