"""Names of columns, entities and features: which are allowed, and which an aggregate gets by itself."""

import re
from collections.abc import Sequence
from typing import Final

import duckdb

NAME_PATTERN: Final = "^[a-z][a-z0-9_]{0,62}$"

RESERVED: Final = frozenset(
    # Of the tables that a transaction is joined with; a column of that name would hide theirs.
    {"event_date", "source", "ingested_at", "source_amount", "row_number", "reason", "payload", "rejected_at"}
    | {"score", "raw_score", "is_anomaly", "model_name", "model_version", "channel", "scored_at"}
    | {"decision", "reason_codes", "policy", "review_threshold", "block_threshold", "model_versions", "decided_at"}
    # A model is given the scores of others, and the verdict, under these.
    | {"isolation_forest_score", "suod_score", "ecod_score", "autoencoder_score", "supervised_score", "is_fraud"}
    | {"sequence", "action", "policy_hash", "thresholds_hash", "rules_hash", "plan_version", "audited"}
    | {"previous_hash", "entry_hash", "is_case", "audit_probability", "reviewer_named_by"}
    | {"actual_fraud", "known_at", "reviewer", "comment", "scenario", "label", "shard", "revision", "contributions"}
)
_MOMENTS: Final = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
_NO_PREFIX: Final = "user"


def sql_key_words() -> frozenset[str]:
    """The words that SQL keeps for itself: a column of such a name would have to be quoted everywhere."""
    with duckdb.connect(":memory:") as connection:
        words = connection.execute(
            "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')"
        ).fetchall()
    return frozenset(word for (word,) in words) | _MOMENTS | {"user", "current_user", "session_user"}


def name_problem(name: str, key_words: frozenset[str]) -> str | None:
    """Why ``name`` can't be the name of a column or a feature; None if it can."""
    if not re.fullmatch(NAME_PATTERN, name):
        hint = f", such as {name.lower()}" if re.fullmatch(NAME_PATTERN, name.lower()) else ""
        return (
            f"{name!r} is no name; write a letter, then letters, digits and _, "
            f"all in lower case and 63 characters at most{hint}"
        )
    if name in RESERVED:
        return f"the name {name!r} is reserved: the project's own tables have such a column"
    if name in key_words:
        return f"the name {name!r} is a key word of SQL; choose another"
    return None


def aggregate_name(entity: str, of: Sequence[str], how: str, over: object, given: str | None, *, listed: bool) -> str:
    """The name of an aggregate: ``{entity}_{of}_{how}_{over}``, or the given one, with ``over`` where it is listed.

    Args:
        entity: its name; that of the user is left out.
        of: left out where there are none or several.
        how: the function.
        over: as written, such as 24h; None where there is no window.
        given: the name in the declaration.
        listed: whether ``over`` is one of a list.
    """
    window = None if over is None else str(over)
    if given is not None:
        return f"{given}_{window}" if listed else given
    parts = ["" if entity == _NO_PREFIX else entity, of[0] if len(of) == 1 else "", how, window or ""]
    return "_".join(part for part in parts if part)
