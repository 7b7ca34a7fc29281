"""The decision log: every decision ever made, in ``scoring.decision_revisions``, and those in force."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import polars as pl

from fraud_pipelines.decisions.audit_sample import AUDIT, with_audit_columns
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hash_chain import DECIDED, ENTRY_SCHEMA, WITHDRAWN, ChainHead
from fraud_pipelines.decisions.sealing import append_entries
from fraud_pipelines.decisions.shadow_records import NOTHING, ShadowRows, replace_shadow
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.plan_versions import keep_text
from fraud_pipelines.storage.connection import Connection, insert, overwrite, registered, select
from fraud_pipelines.storage.warehouse import Warehouse

CONTENT: Final = (
    "transaction_id",
    "event_date",
    "decision",
    "score",
    "reason",
    "reason_codes",
    "policy",
    "review_threshold",
    "block_threshold",
    "model_versions",
)
"""What makes a decision: the columns of ``scoring.decisions`` but ``channel``, ``decided_at``, ``plan_version`` and
those of the audit sample."""


@dataclass(frozen=True)
class Recorded:
    """What recording a day did to the log: entries by kind, and where the chain ends now."""

    new: int
    revised: int
    withdrawn: int
    head: ChainHead


def append_decisions(
    connection: Connection,
    decided: pl.DataFrame,
    *,
    engine: DecisionEngine,
    channel: str,
    now: datetime,
) -> ChainHead:
    """Put first decisions on transactions in force, inside an open DuckDB transaction.

    For what is decided as it comes, and once. The caller rolls back on an error.

    Args:
        decided: the columns `CONTENT`, a row for each transaction, in the order in which they were decided.
        engine: what decided them.

    Raises:
        InvalidInput: a transaction stands twice in ``decided``, or has a decision of this channel already.
    """
    if decided.is_empty():
        return append_entries(connection, _entries(decided), channel=channel, now=now)
    repeated = decided.filter(decided["transaction_id"].is_duplicated())["transaction_id"]
    earlier = _earlier_revisions(connection, decided, channel)
    standing = earlier.filter(pl.col("action") == DECIDED)["transaction_id"]
    for ids, fault in ((repeated, "stands twice in what is to be logged"), (standing, "was decided before")):
        if ids.len():
            raise InvalidInput(
                f"transaction {ids[0]!r} {fault} (channel {channel}, {ids.len()} such rows): a decision is logged once"
            )
    note_versions(connection, engine, now)
    revisions = decided.join(
        earlier.select("transaction_id", pl.col("revision") + 1), on="transaction_id", how="left", maintain_order="left"
    )
    entries = _entries(revisions, engine).with_columns(
        revision=pl.col("revision").fill_null(1), channel=pl.lit(channel), decided_at=pl.lit(now)
    )
    insert(connection, "scoring.decisions", entries.select(*CONTENT, "channel", "decided_at", "plan_version"))
    return append_entries(connection, entries, channel=channel, now=now)


def record_decisions(
    warehouse: Warehouse,
    decided: pl.DataFrame,
    *,
    engine: DecisionEngine,
    day: date,
    channel: str,
    now: datetime,
    shadow: ShadowRows = NOTHING,
) -> Recorded:
    """Put the decisions of ``day`` in force, in one transaction.

    A decision is a record of what was done. One that comes out the same as the last entry on it keeps its row,
    ``decided_at`` and what it was made with included; one that comes out differently becomes a new revision, and
    one that vanishes an entry that withdraws it. What stood before stays in the log. With the decisions of the
    batch the day is complete, and no longer stale.

    A payment that comes later changes the probabilities of the whole day's audit sample a little. That alone is no
    other decision on a payment that wasn't drawn: it keeps the probability it had.

    Args:
        decided: the columns `CONTENT`, a row for each transaction of the day; `AUDIT` where a sample was drawn.
        engine: what decided them.
        shadow: what was decided of them in shadow.
    """
    with warehouse.transaction() as connection:
        latest = select(connection, LATEST_SQL, {"channel": channel, "day": day})
        change = change_of_day(decided, latest, engine=engine, channel=channel, now=now)
        if change.written:
            note_versions(connection, engine, now)
        head = append_entries(connection, change.entries, channel=channel, now=now)
        overwrite(connection, "scoring.decisions", change.in_force, event_date=day, channel=channel)
        replace_shadow(connection, shadow, day=day, channel=channel, now=now)
        if channel == "batch":
            mark_fresh(connection, day, now)
    return Recorded(new=change.new, revised=change.written - change.new, withdrawn=change.withdrawn, head=head)


@dataclass(frozen=True)
class DayChange:
    """What a day's decisions change.

    Attributes:
        entries: for the log, in its order.
        in_force: rows of ``scoring.decisions``.
        new, written, withdrawn: how many entries are first decisions, decisions, and withdrawals.
    """

    entries: pl.DataFrame
    in_force: pl.DataFrame
    new: int
    written: int
    withdrawn: int


def change_of_day(
    decided: pl.DataFrame, latest: pl.DataFrame, *, engine: DecisionEngine, channel: str, now: datetime
) -> DayChange:
    """Compare the decisions of a day, or of a shard of it, with the last entries on its transactions.

    Args:
        decided: as `record_decisions` takes it.
        latest: the columns of `LATEST`, those of `LATEST_SQL`.
    """
    decided = with_audit_columns(decided)
    before = latest.filter(pl.col("action") == DECIDED)
    compared = decided.join(latest, on="transaction_id", how="left", suffix="_before", maintain_order="left")
    same = pl.all_horizontal(
        pl.col("action").eq_missing(pl.lit(DECIDED)),
        *(pl.col(name).eq_missing(pl.col(f"{name}_before")) for name in CONTENT[1:]),
        *_drawn_alike(),
    )
    kept = compared.filter(same).with_columns(pl.col(f"{name}_before").alias(name) for name in AUDIT)
    changed = compared.filter(~same)
    vanished = before.join(decided, on="transaction_id", how="anti")
    written = _entries(
        changed.select(*CONTENT, *AUDIT, revision=pl.col("revision").fill_null(0) + 1), engine
    ).with_columns(decided_at=pl.lit(now))
    withdrawn = _entries(
        vanished.select("transaction_id", "event_date", revision=pl.col("revision") + 1), action=WITHDRAWN
    ).with_columns(decided_at=pl.lit(now))
    of_channel = pl.lit(channel).alias("channel")
    columns = (*CONTENT, *AUDIT, "decided_at", "plan_version")
    in_force = pl.concat([kept.select(columns), written.select(columns)])
    return DayChange(
        entries=pl.concat([written, withdrawn]).with_columns(of_channel).sort("transaction_id"),
        in_force=in_force.with_columns(of_channel).sort("transaction_id"),
        new=int((written["revision"] == 1).sum()),
        written=written.height,
        withdrawn=withdrawn.height,
    )


def _drawn_alike() -> tuple[pl.Expr, pl.Expr]:
    """Whether a payment is audited now as it was before, and if so with the same probability."""
    now, before = (pl.col(name).fill_null(value=False) for name in ("audited", "audited_before"))
    return now == before, ~now | pl.col("audit_probability").eq_missing(pl.col("audit_probability_before"))


def _earlier_revisions(connection: Connection, decided: pl.DataFrame, channel: str) -> pl.DataFrame:
    """``transaction_id``, ``revision`` and ``action`` of the last entry on each of ``decided`` that has one."""
    with registered(connection, _decided=decided.select("transaction_id")):
        return select(
            connection,
            """
            SELECT transaction_id, max(revision) AS revision, arg_max(action, revision) AS action
            FROM scoring.decision_revisions
            WHERE channel = $channel AND event_date BETWEEN $first AND $last
              AND transaction_id IN (SELECT transaction_id FROM _decided)
            GROUP BY transaction_id
            """,
            {"channel": channel, "first": decided["event_date"].min(), "last": decided["event_date"].max()},
        )


LATEST_SQL: Final = """
    SELECT * EXCLUDE (channel, shard, previous_hash, entry_hash, sequence) FROM scoring.decision_revisions
    WHERE channel = $channel AND event_date = $day
    QUALIFY row_number() OVER (PARTITION BY transaction_id ORDER BY revision DESC) = 1
"""
"""The last entry on each transaction of a day."""
LATEST: Final = pl.Schema({name: kind for name, kind in ENTRY_SCHEMA.items() if name != "channel"})
"""The columns of `LATEST_SQL`, in some order."""


def _entries(rows: pl.DataFrame, engine: DecisionEngine | None = None, *, action: str = DECIDED) -> pl.DataFrame:
    """``rows`` with every column of an entry; what they lack is null, but for what decided them."""
    policy, thresholds, rules = (each.hash for each in engine.versions) if engine else (None, None, None)
    known = rows.with_columns(
        action=pl.lit(action),
        policy_hash=pl.lit(policy, dtype=pl.String),
        thresholds_hash=pl.lit(thresholds, dtype=pl.String),
        rules_hash=pl.lit(rules, dtype=pl.String),
        plan_version=pl.lit(engine.plan.version if engine else None, dtype=pl.String),
    )
    return known.select(
        pl.col(name).cast(kind) if name in known.columns else pl.lit(None, dtype=kind).alias(name)
        for name, kind in ENTRY_SCHEMA.items()
    )


def note_versions(connection: Connection, engine: DecisionEngine, now: datetime) -> None:
    """Keep the text of the policy, the thresholds, the rules and the declarations, once for each content."""
    keep_text(connection, engine.plan)
    connection.append(
        "scoring.policy_versions",
        """
        SELECT hash, kind, content, $now::TIMESTAMP AS first_used_at
        FROM (SELECT unnest($hashes) AS hash, unnest($kinds) AS kind, unnest($contents) AS content)
        ANTI JOIN scoring.policy_versions USING (hash, kind)
        """,
        {
            "hashes": [version.hash for version in engine.versions],
            "kinds": [version.kind for version in engine.versions],
            "contents": [version.content for version in engine.versions],
            "now": now,
        },
    )


def mark_fresh(connection: Connection, day: date, now: datetime) -> None:
    """With the decisions of the batch a day is no longer stale."""
    # What was marked after the day was scored is not in these decisions yet.
    connection.delete(
        "raw.stale_days",
        """
        event_date = $day AND marked_at <= coalesce(
            (SELECT min(scored_at) FROM scoring.transaction_scores
             WHERE event_date = $day AND channel = 'batch'),
            $now::TIMESTAMP)
        """,
        {"day": day, "now": now},
    )
