"""What was decided in shadow, as it is stored: beside the decisions in force, and looked at by nothing that decides.

``scoring.shadow_days`` has a row for each day, channel, and rule or policy that was in shadow, also where it hit
nothing. ``scoring.shadow_decisions`` has the payments that a rule in shadow holds for, and those that a policy in
shadow or the decision in force alerts: whatever has no row, both approve.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import polars as pl

from fraud_pipelines.storage.connection import Connection, insert, overwrite, select

DAYS: Final = "scoring.shadow_days"
DECISIONS: Final = "scoring.shadow_decisions"
SHADOW_DAY: Final = pl.Schema(
    {
        "kind": pl.String(),
        "name": pl.String(),
        "version": pl.String(),
        "content": pl.String(),
        "event_date": pl.Date(),
        "payments": pl.Int64(),
    }
)
SHADOW_DECISION: Final = pl.Schema(
    {
        "kind": pl.String(),
        "name": pl.String(),
        "version": pl.String(),
        "transaction_id": pl.String(),
        "event_date": pl.Date(),
        "decision": pl.String(),
        "score": pl.Float64(),
        "reason": pl.String(),
        "in_force": pl.String(),
    }
)
_DAY_KEY: Final = ("kind", "name", "version", "event_date")


@dataclass(frozen=True)
class ShadowRows:
    """The columns of `SHADOW_DAY` and of `SHADOW_DECISION`."""

    days: pl.DataFrame
    decisions: pl.DataFrame

    @classmethod
    def joined(cls, parts: "list[ShadowRows]") -> "ShadowRows":
        """Of several pieces; the payments of a day that stands in more than one of them are added up."""
        days = pl.concat([SHADOW_DAY.to_frame(), *(part.days for part in parts)])
        return cls(_added_up(days), pl.concat([SHADOW_DECISION.to_frame(), *(part.decisions for part in parts)]))


NOTHING: Final = ShadowRows(SHADOW_DAY.to_frame(), SHADOW_DECISION.to_frame())


def replace_shadow(connection: Connection, rows: ShadowRows, *, day: date, channel: str, now: datetime) -> None:
    """Store what was decided in shadow of all payments of ``day``, in the place of what was; in an open transaction."""
    stored = select(connection, f"SELECT 1 FROM {DAYS} WHERE event_date = ? AND channel = ? LIMIT 1", [day, channel])
    if rows.days.is_empty() and stored.is_empty():
        return
    for table, frame in ((DAYS, rows.days), (DECISIONS, rows.decisions)):
        overwrite(connection, table, _stamped(frame, channel, now), event_date=day, channel=channel)


def append_shadow(connection: Connection, rows: ShadowRows, *, channel: str, now: datetime) -> None:
    """Store what was decided in shadow of further payments, in an open transaction."""
    if rows.days.is_empty():
        return
    days = rows.days["event_date"].unique().to_list()
    earlier = select(
        connection,
        f"SELECT {', '.join(SHADOW_DAY)} FROM {DAYS} WHERE channel = $channel AND list_contains($days, event_date)",
        {"channel": channel, "days": days},
    )
    connection.delete(
        DAYS, "channel = $channel AND list_contains($days, event_date)", {"channel": channel, "days": days}
    )
    insert(connection, DAYS, _stamped(_added_up(pl.concat([earlier.cast(SHADOW_DAY), rows.days])), channel, now))
    insert(connection, DECISIONS, _stamped(rows.decisions, channel, now))


def _added_up(days: pl.DataFrame) -> pl.DataFrame:
    added = days.group_by(_DAY_KEY).agg(pl.col("content").first(), pl.col("payments").sum())
    return added.select(SHADOW_DAY.names()).sort(_DAY_KEY)


def _stamped(rows: pl.DataFrame, channel: str, now: datetime) -> pl.DataFrame:
    return rows.with_columns(channel=pl.lit(channel), decided_at=pl.lit(now, dtype=pl.Datetime("us")))
