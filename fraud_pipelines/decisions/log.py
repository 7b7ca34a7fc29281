"""The decision log: the decisions of a day in force, and a trace of those a rerun replaced."""

from datetime import date, datetime

import polars as pl

from fraud_pipelines.storage.warehouse import Warehouse, overwrite

_CONTENT = (
    "transaction_id, channel, event_date, decision, score, reason, reason_codes, policy, "
    "review_threshold, block_threshold, model_versions"
)


def record_decisions(warehouse: Warehouse, decisions: pl.DataFrame, *, day: date, channel: str, now: datetime) -> int:
    """Put the decisions of ``day`` in force, in one transaction; returns how many earlier ones they replaced.

    A decision is a record of what was done. One that comes out the same again keeps its row, ``decided_at``
    included; one that comes out differently, or vanishes, moves to ``scoring.superseded_decisions``. With the
    decisions of the batch the day is complete, and no longer stale.

    Args:
        decisions: the columns of ``scoring.decisions`` but ``decided_at``, a row for each transaction.
    """
    with warehouse.transaction() as connection:
        connection.register("_decided", decisions)
        connection.execute(
            f"""
            CREATE TEMP TABLE _kept AS
            SELECT o.* FROM scoring.decisions o
            JOIN (SELECT {_CONTENT} FROM scoring.decisions WHERE event_date = $day AND channel = $channel
                  INTERSECT SELECT {_CONTENT} FROM _decided) USING (transaction_id, channel)
            WHERE o.event_date = $day
            """,
            {"day": day, "channel": channel},
        )
        superseded = connection.execute(
            """
            INSERT INTO scoring.superseded_decisions BY NAME
            SELECT *, $now::TIMESTAMP AS superseded_at FROM scoring.decisions
            WHERE event_date = $day AND channel = $channel
              AND transaction_id NOT IN (SELECT transaction_id FROM _kept)
            """,
            {"day": day, "channel": channel, "now": now},
        ).fetchone()
        rows: pl.DataFrame = connection.sql(
            f"""
            SELECT {_CONTENT}, coalesce(k.decided_at, $now::TIMESTAMP) AS decided_at
            FROM _decided LEFT JOIN (SELECT transaction_id, decided_at FROM _kept) k USING (transaction_id)
            ORDER BY transaction_id
            """,
            params={"now": now},
        ).pl()
        connection.unregister("_decided")
        overwrite(connection, "scoring.decisions", rows, event_date=day, channel=channel)
        connection.execute("DROP TABLE _kept")
        if channel == "batch":
            # What was marked after the day was scored is not in these decisions yet.
            connection.execute(
                """
                DELETE FROM raw.stale_days WHERE event_date = $day AND marked_at <= coalesce(
                    (SELECT min(scored_at) FROM scoring.transaction_scores
                     WHERE event_date = $day AND channel = 'batch'),
                    $now::TIMESTAMP)
                """,
                {"day": day, "now": now},
            )
    return int(superseded[0]) if superseded else 0
