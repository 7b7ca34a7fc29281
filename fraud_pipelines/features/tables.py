"""The tables of the feature layer in the warehouse: one of features, and a history for each kind of entity."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Final

import duckdb
import polars as pl

from fraud_pipelines.features.catalog import FEATURES, KEY_COLUMNS, table_schema
from fraud_pipelines.features.declarations import ENTITIES, Entity
from fraud_pipelines.features.history import History, history_schema
from fraud_pipelines.storage.warehouse import overwrite, select

FEATURE_TABLE: Final = "features.transaction_features"


def history_table(entity: Entity) -> str:
    """The table of the entity's state: a row for each day on which the entity had transactions."""
    return f"features.{entity.name}_history"


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the feature tables that are missing, with the declared columns, and describe each column."""
    if not _exists(connection, FEATURE_TABLE):
        _create(connection, FEATURE_TABLE, table_schema(), required=KEY_COLUMNS)
        for feature in FEATURES.values():
            text = feature.description.replace("'", "''")
            connection.execute(f"COMMENT ON COLUMN {FEATURE_TABLE}.\"{feature.name}\" IS '{text}'")
    for entity in ENTITIES:
        if not _exists(connection, history_table(entity)):
            schema = history_schema(entity) | {"event_date": pl.Date()}
            _create(connection, history_table(entity), schema, required=(entity.column, "event_date"))


def read_history(connection: duckdb.DuckDBPyConnection, entity: Entity, keys: pl.Series, day: date) -> History:
    """The state of those ``keys`` that are known, as of the end of the last day before ``day`` they were active on."""
    if not _exists(connection, history_table(entity)):
        return History.empty(entity)
    connection.register("_keys", keys.drop_nulls().unique().alias("id").to_frame())
    try:
        rows = select(
            connection,
            f"""
            SELECT * FROM {history_table(entity)}
            SEMI JOIN (
                SELECT {entity.column}, max(event_date) AS event_date FROM {history_table(entity)}
                WHERE event_date < $day AND {entity.column} IN (SELECT id FROM _keys)
                GROUP BY {entity.column}
            ) USING ({entity.column}, event_date)
            """,
            {"day": day},
        )
    finally:
        connection.unregister("_keys")
    return History.from_frame(entity, rows)


def write_history(connection: duckdb.DuckDBPyConnection, history: History, day: date) -> list[date]:
    """Replace the state stored as of ``day``.

    Returns:
        The later days whose features were derived from what is now replaced by something else, in order.
    """
    entity, table = history.entity, history_table(history.entity)
    rows = history.frame.with_columns(event_date=pl.lit(day))
    last = select(connection, f"SELECT max(event_date) FROM {table}").item()
    outdated: list[date] = []
    if last is not None and last > day:
        names = ", ".join(f'"{name}"' for name in rows.columns)
        connection.register("_new", rows)
        outdated = (
            select(
                connection,
                f"""
                WITH stored AS (SELECT {names} FROM {table} WHERE event_date = $day),
                     changed AS (
                         SELECT {entity.column} FROM (FROM stored EXCEPT SELECT {names} FROM _new)
                         UNION SELECT {entity.column} FROM (SELECT {names} FROM _new EXCEPT FROM stored)
                     )
                SELECT DISTINCT min(event_date) AS event_date FROM {table} SEMI JOIN changed USING ({entity.column})
                WHERE event_date > $day GROUP BY {entity.column} ORDER BY event_date
                """,
                {"day": day},
            )
            .to_series()
            .to_list()
        )
        connection.unregister("_new")
    overwrite(connection, table, rows, event_date=day)
    return outdated


def mark_stale(connection: duckdb.DuckDBPyConnection, days: Iterable[date], reason: str) -> None:
    """Note that the derived tables of ``days`` no longer follow from what is stored."""
    marked_at = datetime.now(UTC).replace(tzinfo=None)
    for day in days:
        connection.execute(
            """
            INSERT INTO raw.stale_days SELECT $day, $reason, $marked_at
            WHERE NOT EXISTS (FROM raw.stale_days WHERE event_date = $day AND reason = $reason)
            """,
            {"day": day, "reason": reason, "marked_at": marked_at},
        )


def _exists(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    schema, name = table.split(".")
    found = connection.execute(
        "SELECT 1 FROM information_schema.tables WHERE table_schema = ? AND table_name = ?", [schema, name]
    )
    return bool(found.fetchall())


def _create(
    connection: duckdb.DuckDBPyConnection, table: str, schema: dict[str, pl.DataType], *, required: Iterable[str]
) -> None:
    connection.register("_columns", pl.DataFrame(schema=schema))
    connection.execute(f"CREATE TABLE {table} AS FROM _columns")
    connection.unregister("_columns")
    for name in required:
        connection.execute(f'ALTER TABLE {table} ALTER COLUMN "{name}" SET NOT NULL')
