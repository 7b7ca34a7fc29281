"""Evidence: the payments of a case with what was decided on them, why, and the features it was decided by."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fraud_pipelines.decisions.blind_review import decisions_told
from fraud_pipelines.storage.connection import Connection, select, table_exists

_FEATURES: Final[Mapping[str, str]] = {
    "batch": "features.transaction_features",
    "stream": "streaming.transaction_features",
}
"""Channel → where the features are that its decisions were made by."""
_KEYS: Final = ("transaction_id", "user_id", "timestamp", "event_date")


def decided_payments(
    connection: Connection, transactions: Sequence[str], *, blind: bool = False
) -> list[dict[str, Any]]:
    """Each payment as it is stored, with the ``decisions`` on it by channel, their entries in the log and features.

    Features that are null, or no finite number, are left out. The payments come in the order of ``transactions``; one
    that isn't stored any more is left out. ``blind``, decisions are as `decisions.blind_review` tells them.
    """
    ids = {"ids": list(transactions)}
    stored = select(
        connection,
        "SELECT * EXCLUDE (source, ingested_at) FROM raw.transactions "
        "WHERE transaction_id IN (SELECT unnest($ids::VARCHAR[]))",
        ids,
    )
    decisions = select(
        connection,
        f"""
        SELECT d.transaction_id, d.channel, d.decision, d.score, d.reason, d.reason_codes, d.policy, d.review_threshold,
               d.block_threshold, d.model_versions, d.decided_at, d.audited, l.revision, l.entry_hash
        FROM {decisions_told(blind=blind)} d
        LEFT JOIN (
            SELECT transaction_id, channel, max(revision) AS revision, arg_max(entry_hash, revision) AS entry_hash
            FROM scoring.decision_revisions WHERE transaction_id IN (SELECT unnest($ids::VARCHAR[])) GROUP BY ALL
        ) l USING (transaction_id, channel)
        WHERE d.transaction_id IN (SELECT unnest($ids::VARCHAR[]))
        ORDER BY d.channel
        """,
        ids,
    )
    features = {channel: _features(connection, table, ids) for channel, table in _FEATURES.items()}
    found: dict[str, dict[str, Any]] = {
        row["transaction_id"]: {
            **{name: value for name, value in row.items() if value is not None},
            "decisions": [],
        }
        for row in stored.iter_rows(named=True)
    }
    for row in decisions.iter_rows(named=True):
        if payment := found.get(row["transaction_id"]):
            channel = row["channel"]
            values = features.get(channel, {}).get(row.pop("transaction_id"), {})
            payment["decisions"].append({**row, "features": values})
    return [found[each] for each in transactions if each in found]


def evidence_of(connection: Connection, transactions: Sequence[str], *, blind: bool = False) -> str:
    """`decided_payments` as JSON with sorted keys."""
    return json.dumps(
        decided_payments(connection, transactions, blind=blind), default=str, sort_keys=True, allow_nan=False
    )


def _features(connection: Connection, table: str, ids: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    if not table_exists(connection, table):
        return {}
    rows = select(connection, f"SELECT * FROM {table} WHERE transaction_id IN (SELECT unnest($ids::VARCHAR[]))", ids)
    return {
        row["transaction_id"]: {
            name: value
            for name, value in row.items()
            if name not in _KEYS and value is not None and not (isinstance(value, float) and not math.isfinite(value))
        }
        for row in rows.iter_rows(named=True)
    }
