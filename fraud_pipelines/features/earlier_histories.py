"""Histories of releases that kept an entity's past in columns of their own: taken over as the fold keeps it now."""

from collections.abc import Sequence
from typing import Any, Final

import duckdb
import numpy as np
import polars as pl

from fraud_pipelines.features.arrays import codes
from fraud_pipelines.features.history import History, history_schema
from fraud_pipelines.features.program import EntityProgram, programs
from fraud_pipelines.features.tables import create_table, history_table, table_exists
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.warehouse import insert, select

_RECENT: Final = ("recent_amounts", "recent_timestamps", "recent_counts", "outsized_timestamps")


def adopt_earlier_histories(connection: duckdb.DuckDBPyConnection) -> None:
    """Replace each history of an earlier release by what the fold would have kept of the same transactions.

    The histories of the stream are emptied: they are built anew from those of the latest derived day.
    """
    for program in programs(shipped_plan()):
        stored = history_table(program.entity)
        if _is_earlier(connection, stored):
            days = select(connection, f"SELECT DISTINCT event_date FROM {stored} ORDER BY 1").to_series().to_list()
            connection.execute(f"ALTER TABLE {stored} RENAME TO {program.entity.name}_history_before")
            before = f"{stored}_before"
            create_table(
                connection,
                stored,
                history_schema(program) | {"event_date": pl.Date()},
                required=(*program.entity.key, "event_date"),
            )
            for day in days:
                rows = _with_counts(connection, program, before, day)
                insert(connection, stored, adopted(program, rows).frame.with_columns(event_date=pl.lit(day)))
            connection.execute(f"DROP TABLE {before}")
        stream = f"streaming.{program.entity.name}_history"
        if _is_earlier(connection, stream):
            connection.execute(f"DROP TABLE {stream}")
            connection.execute("DELETE FROM streaming.history_base")


def adopted(program: EntityProgram, rows: pl.DataFrame) -> History:
    """A history that ships, from the columns of an earlier release.

    Args:
        rows: the key, ``last_timestamp``, ``transactions``, and as far as they were kept ``amount_total``,
            ``last_country`` and the lists of `_RECENT`.
    """
    from fraud_pipelines.plan.folding.loop import Program

    arrays: Program = program.arrays
    heads: list[Any] = [_ints(rows["transactions"]), _ints(rows["last_timestamp"].to_physical())]
    for use in program.scalar_uses:
        if use == "changed":
            heads += [np.ones(rows.height, dtype=np.int64), codes(rows["last_country"])]
        elif use == "ratio":
            heads += [heads[0], rows["amount_total"].to_numpy().view(np.int64)]
    lists = [name for name in _RECENT if name in rows.columns]
    by_kind = _lists_of(program, lists)
    lengths = [_ints(rows[name].list.len()) for name in by_kind]
    at = np.zeros(rows.height + 1, dtype=np.int64)
    size = len(heads) + len(lengths)
    np.cumsum(size + sum(lengths, np.zeros(rows.height, dtype=np.int64)), out=at[1:])
    numbers = np.empty(at[-1], dtype=np.int64)
    for k, column in enumerate((*heads, *lengths)):
        numbers[at[:-1] + k] = column
    position = at[:-1] + size
    for name, length in zip(by_kind, lengths, strict=True):
        elements = rows[name].explode(empty_as_null=False, keep_nulls=False)
        values = elements.to_physical().to_numpy()
        if name in ("recent_amounts", "recent_counts"):
            values = values.astype(np.float64).view(np.int64)
        first = np.cumsum(length) - length
        numbers[np.repeat(position - first, length) + np.arange(values.size)] = values
        position = position + length
    assert arrays.tails.shape[0] == len(by_kind)
    return History.of(program, rows[program.entity.key[0]], at, numbers)


def _lists_of(program: EntityProgram, lists: Sequence[str]) -> list[str]:
    """The column that each tail was kept in, in the order of the tails."""
    names: dict[object, str] = {
        None: "recent_timestamps",
        "amount": "recent_amounts",
        "tx_count_24h": "recent_counts",
    }
    found = ["outsized_timestamps" if is_mark else names[source] for source, is_mark in program.tail_sources]
    assert set(found) == set(lists)
    return found


def _with_counts(
    connection: duckdb.DuckDBPyConnection, program: EntityProgram, table: str, day: object
) -> pl.DataFrame:
    """The rows of a day; where the release did not count an entity's transactions, with their number up to then."""
    rows = select(connection, f"SELECT * FROM {table} WHERE event_date = ?", [day])
    if "transactions" in rows.columns:
        return rows
    key = program.entity.key[0]
    counts = select(
        connection,
        f'SELECT "{key}", count(*) AS transactions FROM raw.transactions WHERE event_date <= ? GROUP BY "{key}"',
        [day],
    )
    return rows.join(counts, on=key, how="left").with_columns(pl.col("transactions").fill_null(1))


def _is_earlier(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    if not table_exists(connection, table):
        return False
    columns = [name for (name, *_) in connection.execute(f"DESCRIBE {table}").fetchall()]
    return "state" not in columns


def _ints(values: pl.Series) -> Any:
    return values.cast(pl.Int64).to_numpy()
