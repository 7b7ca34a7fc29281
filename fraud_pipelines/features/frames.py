"""Frames for models: the stored features of some days, with the transaction's own columns beside them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.tables import FEATURE_TABLE
from fraud_pipelines.storage.connection import Connection, columns_of, registered, select
from fraud_pipelines.storage.row_files import RowFiles
from fraud_pipelines.storage.shard_files import export
from fraud_pipelines.storage.warehouse import Warehouse

_FEATURES_SQL: Final = """
    SELECT f.*{further}
    FROM {source} f
    JOIN raw.transactions t ON t.transaction_id = f.transaction_id AND t.event_date = f.event_date
    WHERE f.event_date BETWEEN $first AND $last AND t.event_date BETWEEN $first AND $last {condition}
"""

_NO_ATTRIBUTES: Final = ("source", "ingested_at")
"""Columns of ``raw.transactions`` that say how a transaction came, and nothing of it."""

_DRAWN: Final = """
    (WITH drawn AS MATERIALIZED (
        SELECT transaction_id, event_date FROM {features}
        WHERE event_date BETWEEN $first AND $last {outcome}
          AND (md5_number_lower(transaction_id) < $bound OR transaction_id IN (SELECT id FROM _always)))
     SELECT d.* FROM {features} d JOIN drawn USING (transaction_id, event_date)
     WHERE d.event_date BETWEEN $first AND $last)
"""
"""Who is drawn is found first: to join all transactions before most are left out takes twice the memory."""

_HAS_OUTCOME: Final = """
    AND transaction_id NOT IN (SELECT transaction_id FROM feedback.unjudged($first, $last, $known_before::TIMESTAMP))
"""

_DIGEST_SQL: Final = f"""
    SELECT event_date, count(*), sum(hash(hash(f))::HUGEINT) FROM {FEATURE_TABLE} f
    WHERE event_date BETWEEN $first AND $last GROUP BY event_date
    UNION ALL
    SELECT event_date, count(*), sum(hash(hash(t))::HUGEINT) FROM raw.transactions t
    WHERE event_date BETWEEN $first AND $last GROUP BY event_date
    ORDER BY ALL
"""


_NO_FEATURES: Final = (
    "no features are stored for {first} to {last}{unless}: materialize features/transaction_features for these days "
    "first (fraud-pipelines run --from DAY --to DAY does, day by day)"
)


@dataclass(frozen=True)
class FeatureSample:
    """Features of some days, or of a sample of their transactions; ``total`` counts all of them."""

    rows: pl.DataFrame
    total: int


def days_with_features(warehouse: Warehouse) -> list[date]:
    """Days that have rows in ``features.transaction_features``, in order."""
    return (
        warehouse.read("SELECT DISTINCT event_date FROM features.transaction_features ORDER BY 1").to_series().to_list()
    )


def read_features(warehouse: Warehouse, first: date, last: date) -> pl.DataFrame:
    """Features of ``first`` to ``last`` (both included), ordered by day and transaction id.

    The columns of the transaction that models and rules may use (merchant, device, place, what is declared) are
    joined from ``raw.transactions``, where they are stored once.

    Raises:
        MissingData: no features are stored for any of these days.
    """
    return sample_features(warehouse, first, last).rows


def read_features_of(
    warehouse: Warehouse,
    day: date,
    transaction_ids: pl.Series,
    *,
    table: str = FEATURE_TABLE,
    last: date | None = None,
) -> pl.DataFrame:
    """`read_features` of some transactions of ``day``, or of the days up to ``last``: a row for each that has features
    in ``table``."""
    asked = pl.DataFrame({"id": transaction_ids}, schema={"id": pl.String})
    with warehouse.connect(read_only=True) as connection, registered(connection, _asked=asked):
        query = _FEATURES_SQL.format(
            source=table,
            further=_further(connection, table),
            condition="AND f.transaction_id IN (SELECT id FROM _asked)",
        )
        return _ordered(select(connection, query, {"first": day, "last": last or day}))


def read_columns(warehouse: Warehouse, day: date, columns: Sequence[str]) -> pl.DataFrame:
    """``transaction_id`` and some columns of `read_features` of ``day``, without reading the others."""
    return _ordered(scan_columns(warehouse, day, day, columns))


def scan_columns(
    warehouse: Warehouse, first: date, last: date, columns: Sequence[str], *, table: str = FEATURE_TABLE
) -> pl.DataFrame:
    """`read_columns` of the days ``first`` to ``last``, in no order: what sorting a million rows costs is spared."""
    with warehouse.connect(read_only=True) as connection:
        return select(connection, _query(connection, table, columns, table=table), {"first": first, "last": last})


def columns_sql(connection: Connection, columns: Sequence[str]) -> str:
    """The query of `read_columns`, of the days ``$first`` to ``$last``."""
    return _query(connection, FEATURE_TABLE, columns)


def export_features(
    warehouse: Warehouse, day: date, columns: Sequence[str], *, shards: int, folder: Path
) -> list[RowFiles]:
    """`read_columns` of ``day`` into files, by the shard of the user.

    Raises:
        MissingData: no features are stored for the day.
        ShardFailed: the files can't be written.
    """
    with warehouse.connect(read_only=True) as connection:
        query = _query(connection, FEATURE_TABLE, [*columns, "user_id"])
        days = {"first": day, "last": day}
        files = export(connection, query, days, key=("user_id",), shards=shards, folder=folder)
    if not any(each.paths for each in files):
        raise MissingData(_NO_FEATURES.format(first=day, last=day, unless=""))
    return files


def sample_features(
    warehouse: Warehouse,
    first: date,
    last: date,
    *,
    most: int | None = None,
    always: pl.Series | None = None,
    columns: Sequence[str] | None = None,
    known_before: date | None = None,
) -> FeatureSample:
    """`read_features`, of about ``most`` transactions where the days have more.

    A transaction is drawn by a hash of its id: it is in every sample of the same share or a greater one, whatever
    else is stored and in whatever order. Every transaction of a day is as likely as any of another day.

    Args:
        most: the expected number of rows; all of them without it.
        always: ids that are in the sample besides, whatever their hash.
        columns: only ``transaction_id`` and these, without reading the others; without ``event_date`` among them the
            rows are in order of their ids.
        known_before: leave out payments of which only a verdict tells the outcome, and none is known before this day
            begins: they are no sample of legitimate ones.

    Raises:
        MissingData: no features are stored for any of these days.
    """
    days = {"first": first, "last": last} | ({} if known_before is None else {"known_before": known_before})
    outcome = "" if known_before is None else _HAS_OUTCOME
    with warehouse.connect(read_only=True) as connection:
        total = int(
            select(
                connection,
                f"SELECT count(*) FROM {FEATURE_TABLE} WHERE event_date BETWEEN $first AND $last {outcome}",
                days,
            ).item()
        )
        if not total:
            unless = "" if known_before is None else " whose outcome was known"
            raise MissingData(_NO_FEATURES.format(first=first, last=last, unless=unless))
        if most is None or total <= most:
            every = _query(connection, FEATURE_TABLE, columns, outcome.replace("transaction_id", "f.transaction_id", 1))
            return FeatureSample(_ordered(select(connection, every, days)), total)
        with registered(connection, _always=pl.DataFrame({"id": always}, schema={"id": pl.String})):
            source = _DRAWN.format(features=FEATURE_TABLE, outcome=outcome)
            drawn = select(connection, _query(connection, source, columns), {**days, "bound": 2**64 * most // total})
    return FeatureSample(_ordered(drawn), total)


def features_digest(connection: Connection, first: date, last: date) -> str:
    """Of all that `read_features` gives for these days: equal as long as no value of it changes.

    DuckDB's own hash of each row is taken, which costs a fifth of reading them. Another release of DuckDB may hash
    otherwise, so its version is part of the digest. It mixes columns by exclusive or, in which what changes alike in
    two rows would cancel out; hashed once more, it doesn't.
    """
    rows = select(connection, _DIGEST_SQL, {"first": first, "last": last}).rows()
    return hashlib.sha256(repr((duckdb.__version__, rows)).encode()).hexdigest()


def _ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows by day and id. To sort them here takes half of what it takes DuckDB, which moves whole rows about."""
    keys = ["event_date", "transaction_id"] if "event_date" in rows.columns else ["transaction_id"]
    return rows.sort(keys)


def _further(connection: Connection, table: str) -> str:
    """The columns of a transaction that are not among its features, as the end of a list."""
    features, raw = columns_of(connection, table), columns_of(connection, "raw.transactions")
    return "".join(f', t."{name}"' for name in raw if name not in features and name not in _NO_ATTRIBUTES)


def _query(
    connection: Connection,
    source: str,
    columns: Sequence[str] | None,
    condition: str = "",
    *,
    table: str = FEATURE_TABLE,
) -> str:
    query = _FEATURES_SQL.format(source=source, further=_further(connection, table), condition=condition)
    if columns is None:
        return query
    names = ", ".join(f'"{name}"' for name in dict.fromkeys(("transaction_id", *columns)))
    return f"SELECT {names} FROM ({query})"
