"""Verdicts: labels go into the warehouse once, and a source may correct what it said by a later verdict."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import polars as pl

from fraud_pipelines.storage.connection import Connection, insert, registered, select
from fraud_pipelines.transactions.schema import LABEL_COLUMNS, TIMESTAMP
from fraud_pipelines.transactions.timestamps import as_utc

LABEL_KEY: Final = ("transaction_id", "source")
VERDICT_COLUMNS: Final[dict[str, pl.DataType]] = LABEL_COLUMNS | {
    "reviewer": pl.String(),
    "comment": pl.String(),
    "scenario": pl.String(),
}
"""A label with who gave it, what was noted, and the kind of fraud; each may be null."""

NAMED_BY: Final = "reviewer_named_by"
"""The column that says where the reviewer's name comes from; files don't say."""
_STORED_COLUMNS: Final[dict[str, pl.DataType]] = VERDICT_COLUMNS | {NAMED_BY: pl.String()}

DUPLICATE: Final = "duplicate: identical to the label stored first"
CONFLICT: Final = "conflict: another actual_fraud than the label stored first, and not known later"


def store_labels(connection: Connection, labels: pl.DataFrame, *, now: datetime) -> pl.Series:
    """Store what is new in ``labels``; returns for each row why it wasn't stored, or null.

    Of each transaction and source the latest verdict is in ``feedback.labels``. Another verdict that became known
    after it is a correction: it takes its place, and the earlier one moves to ``feedback.superseded_labels``, so
    that what is computed as of a past day comes out as it did. The same verdict again is a ``duplicate``, and so is
    one that was corrected since. Another verdict that was not known later is a ``conflict``: models were trained
    and thresholds tuned with the one stored, and to replace it would rewrite what was known on that day.

    Args:
        connection: in the transaction that takes them in.
        labels: ``LABEL_COLUMNS``, and of ``VERDICT_COLUMNS`` and `NAMED_BY` what there is more; they are read in
            the order in which they became known.
        now: the time of ingestion.
    """
    given = labels.select(
        pl.col(name) if name in labels.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in _STORED_COLUMNS.items()
    ).with_row_index("row")
    history = _history(connection, given["transaction_id"])
    repeated = pl.struct(LABEL_KEY).is_duplicated()
    seen_before = pl.struct(LABEL_KEY).is_in(history.select(pl.struct(LABEL_KEY)).to_series().implode())
    contested = given.filter(repeated | seen_before) if history.height else given.filter(repeated)
    judged = _judge(contested, history)
    reasons = pl.DataFrame(judged, schema={"row": pl.get_index_type(), "reason": pl.String}, orient="row")
    found = given.join(reasons, on="row", how="left", maintain_order="left")["reason"]

    news = given.filter(found.is_null()).sort("known_at", "row").drop("row")
    corrected = pl.struct(LABEL_KEY).is_in(news.select(pl.struct(LABEL_KEY)).to_series().implode())
    _supersede(connection, history.filter("in_force", corrected).select(LABEL_KEY))
    ingested = news.with_columns(ingested_at=pl.lit(as_utc(now), dtype=TIMESTAMP))
    latest = pl.struct(LABEL_KEY).is_last_distinct()
    insert(connection, "feedback.superseded_labels", ingested.filter(~latest))
    insert(connection, "feedback.labels", ingested.filter(latest))
    return found


def _history(connection: Connection, transaction_ids: pl.Series) -> pl.DataFrame:
    """What is stored of these transactions, in the order in which it became known."""
    with registered(connection, _labelled=transaction_ids.to_frame()):
        return select(
            connection,
            """
            SELECT transaction_id, source, actual_fraud, known_at, true AS in_force FROM feedback.labels
            WHERE transaction_id IN (SELECT transaction_id FROM _labelled)
            UNION ALL
            SELECT transaction_id, source, actual_fraud, known_at, false FROM feedback.superseded_labels
            WHERE transaction_id IN (SELECT transaction_id FROM _labelled)
            ORDER BY known_at
            """,
        )


def _judge(contested: pl.DataFrame, history: pl.DataFrame) -> Iterable[tuple[int, str | None]]:
    """The position and the reason, null for what is to be stored, of each row whose key is not its own."""
    verdicts: dict[tuple[str, str], list[tuple[bool, datetime]]] = {}
    for transaction_id, source, fraud, known_at, _ in history.iter_rows():
        verdicts.setdefault((transaction_id, source), []).append((fraud, known_at))
    reasons: list[tuple[int, str | None]] = []
    columns = ["row", *LABEL_KEY, "actual_fraud", "known_at"]
    for row, transaction_id, source, fraud, known_at in contested.sort("known_at", "row").select(columns).iter_rows():
        earlier = verdicts.setdefault((transaction_id, source), [])
        if not earlier or (earlier[-1][0] != fraud and earlier[-1][1] < known_at):
            earlier.append((fraud, known_at))
            reasons.append((row, None))
        else:
            repeats = earlier[-1][0] == fraud or (fraud, known_at) in earlier
            reasons.append((row, DUPLICATE if repeats else CONFLICT))
    return reasons


def _supersede(connection: Connection, keys: pl.DataFrame) -> None:
    """Move the labels under ``keys`` to those that were corrected."""
    if keys.is_empty():
        return
    with registered(connection, _corrected=keys):
        connection.append(
            "feedback.superseded_labels",
            "SELECT * FROM feedback.labels SEMI JOIN _corrected USING (transaction_id, source)",
        )
        connection.delete(
            "feedback.labels", "(transaction_id, source) IN (SELECT (transaction_id, source) FROM _corrected)"
        )
