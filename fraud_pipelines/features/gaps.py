"""Gaps: days that have transactions and were never derived, which the histories of later days would lack."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.tables import FEATURE_TABLE, mark_stale
from fraud_pipelines.storage.connection import Connection, select, table_exists
from fraud_pipelines.transactions.kinds import PAYMENTS

_MOST_NAMED: Final = 5


@dataclass(frozen=True)
class Gap:
    """A day that has transactions and was never derived.

    Attributes:
        day: the day.
        came_late: its transactions arrived after a later day had been derived, as single late payments do.
        is_marked: it stands in ``raw.stale_days``.
    """

    day: date
    came_late: bool
    is_marked: bool


def gaps_before(connection: Connection, day: date) -> list[Gap]:
    """The gaps before ``day``, in order.

    A gap came late where the first derived day follows it, or where it was marked as stale when its transactions
    arrived and a derived day follows it. Days after ``day`` are not looked at.
    """
    derived = f"FROM {FEATURE_TABLE}" if table_exists(connection, FEATURE_TABLE) else f"FROM {PAYMENTS} LIMIT 0"
    gaps = select(
        connection,
        f"""
        WITH derived AS (SELECT DISTINCT event_date FROM (SELECT event_date {derived}) WHERE event_date <= $day),
             missing AS (SELECT event_date FROM {PAYMENTS} WHERE event_date < $day EXCEPT FROM derived),
             marked AS (SELECT event_date, event_date IN (SELECT event_date FROM raw.stale_days) AS is_marked
                        FROM missing)
        SELECT event_date, coalesce(event_date < (SELECT min(event_date) FROM derived), false)
               OR (is_marked AND coalesce(event_date < (SELECT max(event_date) FROM derived), false)) AS came_late,
               is_marked
        FROM marked ORDER BY event_date
        """,
        {"day": day},
    )
    return [Gap(*row) for row in gaps.iter_rows()]


def require_no_gap(connection: Connection, day: date) -> None:
    """Refuse ``day`` where the histories it starts from lack a day that should have been derived first.

    A gap that came late is no reason to refuse: it must not stop every later day.

    Raises:
        MissingData: the message names the days.
    """
    missing = [gap.day for gap in gaps_before(connection, day) if not gap.came_late]
    if missing:
        one = len(missing) == 1
        raise MissingData(
            f"The features of {day} need those of the days before it, and {_listed(missing)} "
            f"{'has' if one else 'have'} transactions that no features were derived from. Run "
            f"{'that day' if one else 'those days'} first: fraud-pipelines run --from {missing[0]} --to {day}. "
            f"Or derive only their features: fraud-pipelines run --from {day} --to {day} --with-earlier "
            "(in the Dagster UI, with_earlier in the config of features/transaction_features)."
        )


def mark_late_gaps(connection: Connection, day: date) -> None:
    """Mark the gaps before ``day`` that came late in ``raw.stale_days``, unless they are marked already."""
    unmarked = [gap.day for gap in gaps_before(connection, day) if gap.came_late and not gap.is_marked]
    mark_stale(connection, unmarked, "has transactions and lies before the first day that was run")


def _listed(days: Sequence[date]) -> str:
    """The days as text: all of a few, else how many, and the first of them."""
    if len(days) == 1:
        return str(days[0])
    named = [str(day) for day in days]
    if len(days) <= _MOST_NAMED:
        return f"{', '.join(named[:-1])} and {named[-1]}"
    return f"{len(days)} days from {named[0]} to {named[-1]} ({', '.join(named[:_MOST_NAMED])}, ...)"
