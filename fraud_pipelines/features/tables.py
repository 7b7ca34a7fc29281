"""The tables of the feature layer in the warehouse: one of features, and a history for each kind of entity."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.features.history import History, history_schema
from fraud_pipelines.features.keys import key_columns
from fraud_pipelines.features.label_tables import outdated_days
from fraud_pipelines.features.program import EntityProgram, programs
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.types import EntityPlan
from fraud_pipelines.storage.connection import (
    Connection,
    add_columns,
    columns_of,
    create_table,
    describe,
    overwrite,
    registered,
    select,
    table_exists,
)
from fraud_pipelines.storage.row_files import RowFiles
from fraud_pipelines.storage.shard_files import export

RECENT_DAYS: Final = timedelta(days=8)

FEATURE_TABLE: Final = "features.transaction_features"

KEY_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "transaction_id": "The transaction.",
    "user_id": "Who paid: customer, account or card.",
    "timestamp": "When it happened, UTC.",
    "event_date": "The UTC day of the transaction.",
}
"""The key columns of the feature table, and what they hold."""


def history_table(entity: EntityPlan) -> str:
    """The table of the entity's state: a row for each day on which the entity had transactions."""
    return f"features.{entity.name}_history"


def create_tables(connection: Connection, plan: Plan) -> None:
    """Create the feature tables, or the columns, that are missing of what is declared, and describe each feature.

    The rows of what was derived before a column was declared are null there.
    """
    if _are_as_declared(connection, plan):
        return
    if not table_exists(connection, FEATURE_TABLE):
        create_table(connection, FEATURE_TABLE, plan.feature_types, required=KEY_DESCRIPTIONS)
    else:
        add_columns(connection, FEATURE_TABLE, plan.feature_types)
    describe(connection, FEATURE_TABLE, column_descriptions(plan))
    for program in programs(plan):
        table, schema = history_table(program.entity), stored_history(program)
        required = (*program.entity.key, "event_date")
        if not table_exists(connection, table):
            create_table(connection, table, schema, required=required)
        else:
            add_columns(connection, table, schema)


def column_descriptions(plan: Plan) -> dict[str, str]:
    """What each column of ``features.transaction_features`` holds."""
    return {**KEY_DESCRIPTIONS, **{name: feature.description for name, feature in plan.features.items()}}


def _are_as_declared(connection: Connection, plan: Plan) -> bool:
    """Whether all is there already: this is called for every day."""
    comments = {column.name: column.comment or "" for column in connection.columns(FEATURE_TABLE)}
    return (
        comments.keys() >= plan.feature_types.keys()
        and all(comments[name] == description for name, description in column_descriptions(plan).items())
        and all(
            columns_of(connection, history_table(each.entity)).keys() >= history_schema(each).keys()
            for each in programs(plan)
        )
    )


def declared_tables(plan: Plan) -> str:
    """All that the tables of features and histories follow from, as text: equal texts make equal tables."""
    histories = [(each.entity.name, each.entity.key, history_schema(each)) for each in programs(plan)]
    return repr((plan.feature_types, column_descriptions(plan), histories))


def read_history(connection: Connection, program: EntityProgram, keys: pl.Series, day: date) -> History:
    """The state of those ``keys`` that are known, as of the end of the last day before ``day`` they were active on."""
    if not table_exists(connection, history_table(program.entity)):
        return History.empty(program)
    wanted = pl.DataFrame(key_columns(keys.drop_nulls().unique().alias("key"), program.entity.key))
    latest = _latest_days(connection, program, wanted, day)
    with registered(connection, _latest=latest):
        return History.from_frame(program, select(connection, *_states_sql(program, latest, day)))


def export_history(
    connection: Connection,
    program: EntityProgram,
    keys: pl.DataFrame,
    day: date,
    *,
    key: Sequence[str],
    shards: int,
    folder: Path,
) -> list[RowFiles]:
    """`read_history` into files, by the shard of ``key``: some of the entity's key columns, or all of them.

    Args:
        keys: the entity's key columns, distinct and without null.
    """
    if not table_exists(connection, history_table(program.entity)):
        return [RowFiles()] * shards
    latest = _latest_days(connection, program, keys, day)
    with registered(connection, _latest=latest):
        query, days = _states_sql(program, latest, day)
        return export(connection, query, days, key=key, shards=shards, folder=folder)


def _latest_days(connection: Connection, program: EntityProgram, wanted: pl.DataFrame, day: date) -> pl.DataFrame:
    """The keys that are known, and the last day before ``day`` on which each was active.

    Most were active lately, so that the days long past are searched only for the others.
    """
    found = _latest_between(connection, program, wanted, day - RECENT_DAYS, day)
    oldest = day - program.reach - timedelta(days=1) if program.forgets else date.min
    if oldest < day - RECENT_DAYS:
        others = wanted.join(found, on=program.entity.key, how="anti")
        found = pl.concat([found, _latest_between(connection, program, others, oldest, day - RECENT_DAYS)])
    return found


def _latest_between(
    connection: Connection, program: EntityProgram, wanted: pl.DataFrame, first: date, end: date
) -> pl.DataFrame:
    table, key = history_table(program.entity), _quoted(program.entity.key)
    with registered(connection, _wanted=wanted):
        return select(
            connection,
            f"""
            SELECT {key}, max(event_date) AS event_date FROM {table} SEMI JOIN _wanted USING ({key})
            WHERE event_date >= $first AND event_date < $end AND declaration = $declaration
            GROUP BY {key}
            """,
            {"first": first, "end": end, "declaration": program.fingerprint},
        )


def _states_sql(program: EntityProgram, latest: pl.DataFrame, day: date) -> tuple[str, dict[str, object]]:
    """The query, over what is registered as ``_latest``, for the states of these days; and its parameters."""
    query = f"""
        SELECT {_quoted(history_schema(program))} FROM {history_table(program.entity)}
        SEMI JOIN _latest USING ({_quoted(program.entity.key)}, event_date)
        WHERE event_date >= $first AND event_date < $end AND declaration = $declaration
    """
    first = min(latest["event_date"].to_list(), default=day)
    return query, {"first": first, "end": day, "declaration": program.fingerprint}


def _quoted(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def stored_history(program: EntityProgram) -> dict[str, pl.DataType]:
    """The columns of the table of the entity's history."""
    return history_schema(program) | {"event_date": pl.Date()}


def write_history(
    connection: Connection, program: EntityProgram, rows: pl.DataFrame | RowFiles, day: date
) -> list[date]:
    """Replace the state stored as of ``day`` by ``rows``, which have the columns `stored_history`.

    Returns:
        The later days whose features were derived from what is now replaced by something else, in order.
    """
    outdated = _outdated_days(connection, program, rows, day)
    overwrite(connection, history_table(program.entity), rows, event_date=day)
    return outdated


def _outdated_days(
    connection: Connection, program: EntityProgram, rows: pl.DataFrame | RowFiles, day: date
) -> list[date]:
    """Later days on which an entity was active whose state as of ``day`` is about to become another.

    That is the next such day, since what the rerun of it changes will mark the one after it; and those whose label
    features look back to ``day``.
    """
    entity, table = program.entity, history_table(program.entity)
    last = select(connection, f"SELECT max(event_date) FROM {table}").item()
    if last is None or last <= day:
        return []
    names, key = _quoted(stored_history(program)), _quoted(entity.key)
    rows = rows if isinstance(rows, pl.DataFrame) or rows.paths else pl.DataFrame(schema=stored_history(program))
    with registered(connection, _new=rows):
        changed = select(
            connection,
            f"""
            WITH stored AS (SELECT {names} FROM {table} WHERE event_date = $day)
            SELECT {key} FROM (FROM stored EXCEPT SELECT {names} FROM _new)
            UNION SELECT {key} FROM (SELECT {names} FROM _new EXCEPT FROM stored)
            """,
            {"day": day},
        )
    with registered(connection, _changed=changed):
        following = select(
            connection,
            f"""
            SELECT DISTINCT event_date FROM (
                SELECT min(event_date) AS event_date FROM {table} SEMI JOIN _changed USING ({key})
                WHERE event_date > $day GROUP BY {key}
            )
            """,
            {"day": day},
        )
    looking_back = outdated_days(connection, entity, changed, day)
    return sorted({*following["event_date"].to_list(), *looking_back})


def forget_days(connection: Connection, days: Collection[date]) -> None:
    """Remove all that was derived from the transactions of ``days``: their features and the states as of their end."""
    if not days:
        return
    histories = [
        table
        for table in connection.tables()
        if table.startswith("features.") and "state" in columns_of(connection, table)
    ]
    for table in (FEATURE_TABLE, "features.derived_days", "features.population", *histories):
        connection.delete(table, "list_contains($days, event_date)", {"days": sorted(days)})


def mark_stale(connection: Connection, days: Iterable[date], reason: str) -> None:
    """Note that the derived tables of ``days`` no longer follow from what is stored."""
    marked_at = datetime.now(UTC).replace(tzinfo=None)
    for day in days:
        connection.append(
            "raw.stale_days",
            """
            SELECT $day::DATE AS event_date, $reason AS reason, $marked_at::TIMESTAMP AS marked_at
            WHERE NOT EXISTS (FROM raw.stale_days WHERE event_date = $day AND reason = $reason)
            """,
            {"day": day, "reason": reason, "marked_at": marked_at},
        )
