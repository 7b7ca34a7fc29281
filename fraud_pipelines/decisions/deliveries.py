"""Deliveries: what was taken in from each file, and how one of them is taken back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.label_tables import days_outdated_by_labels
from fraud_pipelines.features.tables import FEATURE_TABLE, forget_days, mark_stale
from fraud_pipelines.plan.types import EntityPlan
from fraud_pipelines.storage.connection import Connection, insert, registered, select, table_exists
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.redelivery import TAKEN_BACK
from fraud_pipelines.transactions.timestamps import as_utc

_SHORTEST_HASH: Final = 6
_LISTED: Final = 10
_IS_REPEAT: Final = "(reason LIKE 'duplicate:%' OR reason LIKE 'conflict:%')"
_COLUMNS: Final = (
    "content_hash, mapping_hash, kind, source, landed_at, rows_read, rows_accepted, rows_rejected, rows_left_out"
)


@dataclass(frozen=True)
class Delivery:
    """A file that was taken in.

    Attributes:
        content_hash, mapping_hash: SHA-256 of the content, and of the mapping that it was read through.
        kind: ``transactions`` or ``labels``.
        source: the name that its rows are stored under.
        landed_at: when, naive UTC.
    """

    content_hash: str
    mapping_hash: str
    kind: str
    source: str
    landed_at: datetime
    rows_read: int
    rows_accepted: int
    rows_rejected: int
    rows_left_out: int


@dataclass(frozen=True)
class Undone:
    """What was taken back.

    Attributes:
        transactions, labels: that were stored.
        rejected, left_out: rows that had been set aside.
        reopened: rows of other deliveries that repeated these; they come in when their files are delivered again.
        decided: transactions that had been decided. Their decisions stay in the log.
        stale: days that had been processed, in order; their tables follow from what is there once they are run again.
    """

    delivery: Delivery
    transactions: int
    labels: int
    rejected: int
    left_out: int
    reopened: int
    decided: int
    stale: tuple[date, ...]


def deliveries(warehouse: Warehouse) -> list[Delivery]:
    """All deliveries, the latest first."""
    rows = warehouse.read(f"SELECT {_COLUMNS} FROM raw.landed_files ORDER BY landed_at DESC, source")
    return [Delivery(*row) for row in rows.iter_rows()]


def find_delivery(warehouse: Warehouse, name: str) -> Delivery:
    """The delivery that ``name`` tells: its source, the end of it after a slash or a colon, or the start of its hash.

    Raises:
        InvalidInput: there is none, or there are several; the message lists them.
    """
    known = deliveries(warehouse)
    named = [each for each in known if each.source == name]
    named = named or [each for each in known if each.source.endswith((f"/{name}", f": {name}"))]
    named = named or [each for each in known if len(name) >= _SHORTEST_HASH and each.content_hash.startswith(name)]
    if len(named) == 1:
        return named[0]
    listed = "\n".join(
        f"  {each.content_hash[:12]}  {each.landed_at:%Y-%m-%d %H:%M}  {each.kind}  {each.source}"
        for each in (named or known)[:_LISTED]
    )
    if named:
        raise InvalidInput(f"{name!r} names {len(named)} deliveries. Say which by its hash:\n{listed}")
    raise InvalidInput(
        f"There is no delivery {name!r}." + (f" The latest are:\n{listed}" if known else " Nothing was taken in yet.")
    )


def undo_delivery(
    warehouse: Warehouse, delivery: Delivery, *, now: datetime, entities: Sequence[EntityPlan] = ()
) -> Undone:
    """Take a delivery back, whole, in one transaction; ``raw.undone_deliveries`` keeps that it was.

    Its transactions, the labels that came with it, and the rows of it that were set aside are removed. A verdict that
    one of its labels corrected is in force again. The same file can be delivered anew, through another mapping.

    Args:
        now: the time of the act.
        entities: whose label features may have looked at its labels.
    """
    with warehouse.transaction() as connection:
        times = _times(connection, delivery)
        with registered(connection, _times=times):
            taken = _remove_transactions(connection) if delivery.kind == "transactions" else _nothing_taken()
            labels = _remove_labels(connection)
            rejected = sum(
                _remove(connection, table, "rejected_at")
                for table in ("raw.rejected_transactions", "feedback.rejected_labels")
            )
            left_out = _remove(connection, "raw.left_out_rows", "left_out_at")
        reopened = _reopen(connection, "raw.rejected_transactions", taken["transaction_id"])
        reopened += _reopen(connection, "feedback.rejected_labels", labels["transaction_id"])
        connection.delete(
            "raw.landed_files",
            "content_hash = ? AND mapping_hash = ? AND kind = ? AND landed_at = ?",
            [delivery.content_hash, delivery.mapping_hash, delivery.kind, delivery.landed_at],
        )
        connection.delete(
            "raw.redeliveries",
            "content_hash = ? AND mapping_hash = ? AND kind = ?",
            [delivery.content_hash, delivery.mapping_hash, delivery.kind],
        )
        stale = _mark(connection, delivery, taken, labels, entities)
        undone = Undone(
            delivery,
            transactions=taken.height,
            labels=labels.height,
            rejected=rejected,
            left_out=left_out,
            reopened=reopened,
            decided=_decided(connection, taken),
            stale=stale,
        )
        _record(connection, undone, now)
    return undone


def _times(connection: Connection, delivery: Delivery) -> pl.DataFrame:
    """Under which name and when rows of the delivery were stored: once, and as often as it came again."""
    return select(
        connection,
        """
        SELECT source, landed_at FROM raw.redeliveries
        WHERE content_hash = $content AND mapping_hash = $mapping AND kind = $kind
        UNION SELECT $source, $landed_at
        """,
        {
            "content": delivery.content_hash,
            "mapping": delivery.mapping_hash,
            "kind": delivery.kind,
            "source": delivery.source,
            "landed_at": delivery.landed_at,
        },
    )


def _remove_transactions(connection: Connection) -> pl.DataFrame:
    came = "(source, ingested_at) IN (SELECT (source, landed_at) FROM _times)"
    taken = select(connection, f"SELECT transaction_id, event_date FROM raw.transactions WHERE {came}")
    connection.delete("raw.transactions", came)
    return taken


def _nothing_taken() -> pl.DataFrame:
    return pl.DataFrame(schema={"transaction_id": pl.String, "event_date": pl.Date})


def _remove_labels(connection: Connection) -> pl.DataFrame:
    """Remove the labels that came with the delivery; returns them. What they corrected is in force again."""
    columns = "transaction_id, source, actual_fraud, known_at"
    came = "ingested_at IN (SELECT landed_at FROM _times)"
    in_force = select(connection, f"SELECT {columns} FROM feedback.labels WHERE {came}")
    superseded = select(connection, f"SELECT {columns} FROM feedback.superseded_labels WHERE {came}")
    connection.delete("feedback.labels", came)
    connection.delete("feedback.superseded_labels", came)
    with registered(connection, _removed=in_force.select("transaction_id", "source")):
        restored = select(
            connection,
            """
            SELECT * FROM feedback.superseded_labels SEMI JOIN _removed USING (transaction_id, source)
            QUALIFY row_number() OVER (PARTITION BY transaction_id, source ORDER BY known_at DESC) = 1
            """,
        )
    with registered(connection, _restored=restored):
        connection.delete(
            "feedback.superseded_labels",
            "(transaction_id, source, known_at) IN (SELECT (transaction_id, source, known_at) FROM _restored)",
        )
    insert(connection, "feedback.labels", restored)
    return pl.concat([in_force, superseded])


def _remove(connection: Connection, table: str, at: str) -> int:
    came = f"(source, {at}) IN (SELECT (source, landed_at) FROM _times)"
    count = int(select(connection, f"SELECT count(*) AS n FROM {table} WHERE {came}").item())
    connection.delete(table, came)
    return count


def _reopen(connection: Connection, table: str, ids: pl.Series) -> int:
    """Let rows of other deliveries that repeated what was taken back come in when they are delivered again."""
    if ids.is_empty():
        return 0
    with registered(connection, _taken=ids.unique().to_frame()):
        repeats = select(
            connection,
            f"""
            WITH repeats AS (
                SELECT payload, unnest(json_extract_string(payload, '$.*')) AS value FROM {table}
                WHERE {_IS_REPEAT} AND json_valid(payload)
            )
            SELECT DISTINCT payload FROM repeats SEMI JOIN _taken ON trim(value) = transaction_id
            """,
        )
    with registered(connection, _repeats=repeats):
        repeated = f"{_IS_REPEAT} AND payload IN (SELECT payload FROM _repeats)"
        count = int(select(connection, f"SELECT count(*) AS n FROM {table} WHERE {repeated}").item())
        connection.update(table, "reason = ?", repeated, [TAKEN_BACK])
    return count


def _mark(
    connection: Connection,
    delivery: Delivery,
    taken: pl.DataFrame,
    labels: pl.DataFrame,
    entities: Sequence[EntityPlan],
) -> tuple[date, ...]:
    """Mark the processed days that what was taken back bore on.

    A day that is left without transactions has nothing to be run again for: what was derived from it is removed, and
    all later days are marked.
    """
    derived = _derived(connection)
    days = {*taken["event_date"]} & derived
    with registered(connection, _days=pl.DataFrame({"event_date": sorted(days)}, schema={"event_date": pl.Date})):
        kept = {
            *select(connection, "SELECT DISTINCT event_date FROM raw.transactions SEMI JOIN _days USING (event_date)")[
                "event_date"
            ]
        }
    emptied = days - kept
    forget_days(connection, sorted(emptied))
    after = {day for day in derived - emptied if emptied and day > min(emptied)}
    known = {*labels["known_at"].dt.date()} & derived
    looked = {*days_outdated_by_labels(connection, entities, labels)} if entities and labels.height else set()
    for marked, reason in (
        (days & kept, f"transactions of {delivery.source} were taken back"),
        (after, f"all transactions of an earlier day were taken back with {delivery.source}"),
        ((known | looked) - emptied, f"labels of {delivery.source} were taken back"),
    ):
        mark_stale(connection, sorted(marked), reason)
    return tuple(sorted(((days & kept) | after | known | looked) - emptied))


def _derived(connection: Connection) -> set[date]:
    if not table_exists(connection, FEATURE_TABLE):
        return set()
    return {*select(connection, f"SELECT DISTINCT event_date FROM {FEATURE_TABLE}")["event_date"]}


def _decided(connection: Connection, taken: pl.DataFrame) -> int:
    with registered(connection, _taken=taken.select("transaction_id")):
        query = (
            "SELECT count(DISTINCT transaction_id) AS n FROM scoring.decisions SEMI JOIN _taken USING (transaction_id)"
        )
        return int(select(connection, query).item())


def _record(connection: Connection, undone: Undone, now: datetime) -> None:
    delivery = undone.delivery
    insert(
        connection,
        "raw.undone_deliveries",
        pl.DataFrame(
            [
                {
                    "content_hash": delivery.content_hash,
                    "mapping_hash": delivery.mapping_hash,
                    "kind": delivery.kind,
                    "source": delivery.source,
                    "landed_at": delivery.landed_at,
                    "undone_at": as_utc(now),
                    "transactions": undone.transactions,
                    "labels": undone.labels,
                    "rejected": undone.rejected,
                    "left_out": undone.left_out,
                }
            ]
        ),
    )
