"""Which days have transactions, and the error for one that has none."""

from datetime import date

from fraud_pipelines.errors import MissingData
from fraud_pipelines.storage.connection import Connection, select
from fraud_pipelines.transactions.kinds import PAYMENTS


def require_transactions(connection: Connection, day: date) -> int:
    """How many transactions ``day`` has, refunds aside.

    Raises:
        MissingData: none; the message names the nearest days that have some.
    """
    count, before, after = select(
        connection,
        f"""
        SELECT count(*) FILTER (event_date = $day),
               max(event_date) FILTER (event_date < $day),
               min(event_date) FILTER (event_date > $day)
        FROM {PAYMENTS}
        """,
        {"day": day},
    ).row(0)
    if count:
        return int(count)
    nearest = [str(found) for found in (before, after) if found]
    stored = "none are stored at all" if not nearest else f"the nearest with some: {' and '.join(nearest)}"
    raise MissingData(
        f"There are no transactions of {day}; {stored}. Put the day's file into the landing zone, or take it in with "
        "fraud-pipelines import PATH, and run the day again."
    )
