"""The tables of the stream in the warehouse: its features in order of arrival, and the histories it goes on from.

The histories of the stream are those of the latest derived day, with the stream's transactions of later days folded
in as they arrived. As soon as a further day has been derived, they are built anew from that day's histories: what the
day put in order, or took in beside the stream, counts from then on.
"""

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Final, NamedTuple

import polars as pl

from fraud_pipelines.features.feature_plan import FeaturePlan
from fraud_pipelines.features.history import History, history_schema
from fraud_pipelines.features.keys import key_columns, keys_of
from fraud_pipelines.features.program import EntityProgram, programs
from fraud_pipelines.features.tables import (
    KEY_DESCRIPTIONS,
    RECENT_DAYS,
    column_descriptions,
    history_table,
    read_history,
)
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.types import EntityPlan
from fraud_pipelines.storage.connection import (
    Connection,
    add_columns,
    create_table,
    describe,
    insert,
    registered,
    select,
    table_exists,
)

FEATURE_TABLE: Final = "streaming.transaction_features"
PLACE_COLUMNS: Final[dict[str, pl.DataType]] = {"batch_id": pl.String(), "position": pl.Int64()}
_PLACE_DESCRIPTIONS: Final = {
    "batch_id": "The batch it came with.",
    "position": "How many transactions the stream had decided before it.",
}


def stream_history_table(entity: EntityPlan) -> str:
    """The table of the entity's state in the stream: a row for each entity that occurred since the base."""
    return f"streaming.{entity.name}_history"


def create_tables(connection: Connection, plan: Plan) -> None:
    """Create the tables, or their columns, that are missing of what is declared."""
    tables: dict[str, tuple[dict[str, pl.DataType], tuple[str, ...]]] = {
        FEATURE_TABLE: (PLACE_COLUMNS | plan.feature_types, (*PLACE_COLUMNS, *KEY_DESCRIPTIONS))
    }
    tables |= {stream_history_table(each.entity): (history_schema(each), each.entity.key) for each in programs(plan)}
    for table, (schema, required) in tables.items():
        if table_exists(connection, table):
            add_columns(connection, table, schema)
        else:
            create_table(connection, table, schema, required=required)
    describe(connection, FEATURE_TABLE, _PLACE_DESCRIPTIONS | column_descriptions(plan))


def latest_derived_day(connection: Connection, compiled: FeaturePlan) -> date | None:
    """The last day that left histories behind."""
    day: date | None = select(connection, f"SELECT max(event_date) FROM {history_table(compiled.users.entity)}").item()
    return day


def read_base(connection: Connection) -> date | None:
    """The day whose histories the stream's stored ones go on from."""
    days = select(connection, "SELECT event_date FROM streaming.history_base")["event_date"]
    return days[0] if len(days) else None


def write_base(connection: Connection, day: date | None, compiled: FeaturePlan) -> None:
    """Forget the stored histories of the stream: from now on they go on from those of ``day``."""
    connection.delete("streaming.history_base", "true")
    insert(connection, "streaming.history_base", pl.DataFrame({"event_date": [day]}, schema={"event_date": pl.Date}))
    for each in compiled.programs:
        connection.delete(stream_history_table(each.entity), "true")


def read_stream_history(
    connection: Connection, program: EntityProgram, keys: Iterable[str], base: date | None
) -> History:
    """The state of those ``keys`` that are known: the stream's own, else that of the day it goes on from."""
    wanted = pl.Series("key", list(keys), dtype=pl.String)
    key = program.entity.key
    table, columns = stream_history_table(program.entity), ", ".join(f'"{name}"' for name in key)
    with registered(connection, _keys=pl.DataFrame(key_columns(wanted, key))):
        own = select(
            connection,
            f"SELECT * FROM {table} SEMI JOIN _keys USING ({columns}) WHERE declaration = ?",
            [program.fingerprint],
        )
    history = History.from_frame(program, own)
    others = wanted.filter(~wanted.is_in(history.keys.implode()))
    if base is None or others.is_empty():
        return history
    following = date.fromordinal(base.toordinal() + 1)
    return read_history(connection, program, others, following).updated(history)


def read_active_histories(
    connection: Connection, compiled: FeaturePlan, base: date | None, *, limit: int
) -> dict[str, History]:
    """The state of every entity that was active in the days up to ``base`` or in the stream since, by its name.

    Of a kind with more than ``limit`` of them, none.
    """
    found: dict[str, History] = {}
    for program in compiled.programs:
        own = stream_history_table(program.entity)
        columns = ", ".join(f'"{name}"' for name in program.entity.key)
        since = (base or date.min) - RECENT_DAYS if base else date.min
        keys = select(
            connection,
            f"""
            SELECT {columns} FROM {own}
            UNION SELECT {columns} FROM {history_table(program.entity)} WHERE event_date BETWEEN $since AND $base
            LIMIT $most
            """,
            {"since": since, "base": base or date.min, "most": limit + 1},
        )
        if keys.height <= limit:
            ids = keys_of(keys, program.entity.key)
            found[program.entity.name] = read_stream_history(connection, program, ids, base)
    return found


def write_stream_history(connection: Connection, history: History) -> None:
    """Replace the stored state of the entities in ``history``."""
    if not len(history):
        return
    table = stream_history_table(history.program.entity)
    columns = ", ".join(f'"{name}"' for name in history.program.entity.key)
    with registered(connection, _changed=history.frame):
        connection.delete(table, f"({columns}) IN (SELECT ({columns}) FROM _changed)")
        connection.append(table, "SELECT * FROM _changed")


class StreamPosition(NamedTuple):
    """How far the stream has come: how many transactions it has decided, and how many refunds it has taken in."""

    decided: int
    refunds: int


def stream_position(connection: Connection) -> StreamPosition:
    """How far the stream has come, by the batches that were committed."""
    counts = select(
        connection,
        """
        SELECT
            coalesce(max(first_position + accepted - coalesce(refunds, 0)), 0)::BIGINT,
            coalesce(sum(refunds), 0)::BIGINT
        FROM streaming.processed_batches
        """,
    )
    return StreamPosition(*counts.row(0))


def read_window(connection: Connection, columns: Iterable[str], first_position: int, *, plan: Plan) -> pl.DataFrame:
    """Those columns, of features or of transactions, from ``first_position`` on, in order of arrival."""
    features = set(plan.feature_types)
    names = list(columns)
    raw = [name for name in names if name not in features]
    chosen = ", ".join(f't."{name}"' if name in raw else f'f."{name}"' for name in names)
    join = "JOIN raw.transactions t USING (transaction_id, event_date)" if raw else ""
    return select(
        connection,
        f"SELECT {chosen} FROM {FEATURE_TABLE} f {join} WHERE f.position >= ? ORDER BY f.position",
        [first_position],
    )


def batches_since(connection: Connection, day: date | None, compiled: FeaturePlan) -> Iterator[pl.DataFrame]:
    """The stream's transactions of later days than ``day``, batch by batch in order of arrival.

    Refunds are among them where an aggregate looks at them.
    """
    columns = ", ".join(f't."{name}"' for name in compiled.plan.attribute_types)
    arrived = f"SELECT batch_id, transaction_id, event_date, position, true AS decided, 0 AS place FROM {FEATURE_TABLE}"
    if compiled.sees_refunds:
        arrived += """
            UNION ALL SELECT batch_id, transaction_id, event_date, position, false, row_number() OVER ()
            FROM streaming.refunds
        """
    rows = select(
        connection,
        f"""
        SELECT a.batch_id, {columns} FROM ({arrived}) a JOIN raw.transactions t USING (transaction_id, event_date)
        WHERE a.event_date > $day ORDER BY a.position, a.decided, a.place
        """,
        {"day": day or date.min},
    )
    for batch in rows.partition_by("batch_id", maintain_order=True):
        yield batch.drop("batch_id")
