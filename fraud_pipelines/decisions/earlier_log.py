"""Takes the decisions of an installation from before the hash chain into it, once."""

from datetime import datetime

from fraud_pipelines.decisions.sealing import append_entries
from fraud_pipelines.storage.connection import Connection, select, table_exists

_CHANNEL = "earlier"


def adopt_earlier_decisions(connection: Connection, *, now: datetime) -> int:
    """Turn ``scoring.superseded_decisions`` and the decisions in force into entries; returns how many.

    The table of an earlier release then goes, and with it the sign that there is something to adopt: a log that
    was emptied by hand is not quietly begun anew. What these decisions were made with was not kept then, so their
    hashes of policy, thresholds and rules stay empty. Call it inside a transaction.
    """
    if not table_exists(connection, "scoring.superseded_decisions"):
        return 0
    entries = select(
        connection,
        """
        WITH events AS (
            SELECT * EXCLUDE superseded_at, 'decided' AS action FROM scoring.superseded_decisions
            UNION ALL BY NAME
            SELECT *, 'decided' AS action FROM scoring.decisions
            UNION ALL BY NAME
            SELECT transaction_id, channel, any_value(event_date) AS event_date, 'withdrawn' AS action,
                   max(superseded_at) AS decided_at
            FROM scoring.superseded_decisions
            ANTI JOIN scoring.decisions USING (transaction_id, channel)
            GROUP BY transaction_id, channel
        )
        SELECT *, NULL AS policy_hash, NULL AS thresholds_hash, NULL AS rules_hash,
               row_number() OVER (PARTITION BY transaction_id, channel ORDER BY decided_at, action) AS revision
        FROM events
        ORDER BY decided_at, transaction_id, channel, revision
        """,
    )
    append_entries(connection, entries, channel=_CHANNEL, now=now)
    connection.drop_table("scoring.superseded_decisions")
    return entries.height
