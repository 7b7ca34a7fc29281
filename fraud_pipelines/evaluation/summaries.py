"""Daily summaries: a day's scores and decisions are read once, and what they come to is kept.

Each evening adds its own day. A window is the sum of its days and of the labels that are known by now, whose payments
are looked up by their ids: so nothing that grows with the traffic is read twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from fraud_pipelines.decisions.policies import Policy
from fraud_pipelines.evaluation.alert_levels import alert_levels, single_levels
from fraud_pipelines.evaluation.levels import Levels
from fraud_pipelines.evaluation.outcomes import matured_decisions, screening_model
from fraud_pipelines.evaluation.windows import DaySummary, summary_of
from fraud_pipelines.storage.connection import Connection, insert, select
from fraud_pipelines.storage.warehouse import Warehouse

TABLE: Final = "monitoring.score_summaries"
POLICY_PREFIX: Final = "policy:"
"""Names what judges the decisions of a policy, not the scores of a model."""
AMOUNT: Final = "amount"
"""No model: the largest amounts first. A model worse than that is worth nothing."""
BATCH: Final = "batch"

_HERE: Final = Path(__file__).parent
_AMOUNTS_SQL: Final = """
    SELECT event_date, user_id, amount AS score, amount AS raw_score, false AS alert
    FROM raw.payments
    WHERE event_date = $day
      AND transaction_id NOT IN (
          SELECT transaction_id FROM feedback.unjudged($day, $day, $known_before::TIMESTAMP)
      )
"""


class Key(NamedTuple):
    """One day of a model, of a policy (`POLICY_PREFIX`) or of the amounts alone, in one channel."""

    event_date: date
    model_name: str
    channel: str


@dataclass(frozen=True)
class Summaries:
    """The summaries of a range of days; ``computed`` are those that weren't stored, or no longer fit what is stored."""

    of: Mapping[Key, DaySummary]
    tokens: Mapping[Key, str]
    computed: Sequence[Key]

    def names(self, first: date, last: date) -> list[tuple[str, str]]:
        """(model or policy, channel) of whatever scored or decided on a day of the range: models first, in order."""
        return sorted(
            {
                (key.model_name, key.channel)
                for key in self.of
                if first <= key.event_date <= last and key.model_name != AMOUNT
            },
            key=lambda of: (of[0].startswith(POLICY_PREFIX), of),
        )

    def days(self, name: str, channel: str, first: date, last: date) -> list[DaySummary]:
        """In order."""
        return [
            summary
            for key, summary in sorted(self.of.items())
            if (key.model_name, key.channel) == (name, channel) and first <= key.event_date <= last
        ]


def read_summaries(
    warehouse: Warehouse,
    first: date,
    last: date,
    *,
    known_before: date | None,
    models: Sequence[str] | None = None,
    policy: Policy | None = None,
    detailed_to: date | None = None,
) -> Summaries:
    """The summaries from ``first`` to ``last``; what isn't stored is computed.

    A summary fits as long as the scores and decisions of its day do, which their number and a hash tell. A payment of
    which only a verdict tells the outcome is in it once it has one.

    Args:
        known_before: of verdicts, those known before this day begins; None: all payments, whatever is known of them.
        models: those of these models; by default of every model, and of the amounts alone.
        policy: those of this policy's decisions.
        detailed_to: of later days only the counts are needed.
    """
    days: dict[str, object] = {"first": first, "last": last}
    names = {"policy": policy and policy.name, "prefix": POLICY_PREFIX, "amount": AMOUNT, "batch": BATCH}
    with warehouse.connect(read_only=True):
        tokens = {
            Key(*of): token
            for *of, token in warehouse.read(
                _query("summary_tokens"),
                days
                | names
                | {"known_before": known_before, "models": models, "settings": policy and policy.model_dump_json()},
            ).iter_rows()
        }
        found = {
            key: summary
            for key, token, summary in _stored(
                warehouse.read(
                    _query("summaries_stored"),
                    days | {"names": sorted({key.model_name for key in tokens}), "detailed_to": detailed_to or last},
                )
            )
            if tokens.get(key) == token
        }
        computed = {
            key: _computed(warehouse, key, policy, known_before) for key in sorted(tokens.keys() - found.keys())
        }
    return Summaries({**found, **computed}, tokens, list(computed))


def store_summaries(connection: Connection, summaries: Summaries) -> None:
    """Keep what was computed, in an open transaction."""
    rows = [_row(key, summaries.of[key], summaries.tokens[key]) for key in summaries.computed]
    for key in summaries.computed:
        connection.delete(TABLE, "(event_date, model_name, channel) = (?, ?, ?)", list(key))
    if rows:
        schema = select(connection, f"SELECT * FROM {TABLE} LIMIT 0").schema
        insert(connection, TABLE, pl.DataFrame(rows, schema=schema))


def _computed(warehouse: Warehouse, key: Key, policy: Policy | None, known_before: date | None) -> DaySummary:
    if key.model_name == AMOUNT:
        return summary_of(warehouse.read(_AMOUNTS_SQL, {"day": key.event_date, "known_before": known_before}))
    if policy and key.model_name.startswith(POLICY_PREFIX):
        decisions = matured_decisions(
            warehouse,
            key.event_date,
            label_delay_days=0,
            evaluation_days=1,
            policy=policy.name,
            channel=key.channel,
            screening_model=screening_model(key.channel),
            second_stage=policy.second_stage,
            segments=policy.segment_columns,
            known_before=known_before,
            every=known_before is None,
        )
        return summary_of(decisions, single_levels(alert_levels(decisions, policy)))
    return summary_of(warehouse.read(_query("scores_of_day"), key._asdict() | {"known_before": known_before}))


def _row(key: Key, summary: DaySummary, token: str) -> dict[str, object]:
    levels, alert = summary.levels, summary.alert_levels
    return key._asdict() | {
        "transactions": summary.transactions,
        "alerts": summary.alerts,
        "scores": levels.score.tolist(),
        "raw_scores": levels.raw_score.tolist(),
        "payments": levels.payments.tolist(),
        "alert_levels": alert.score.tolist() if alert else [],
        "alert_payments": alert.payments.tolist() if alert else [],
        "exact": levels.exact and (alert is None or alert.exact),
        "cards": list(summary.cards),
        "model_versions": list(summary.versions),
        "token": token,
    }


def _stored(rows: pl.DataFrame) -> Iterator[tuple[Key, str, DaySummary]]:
    """Each with its key and token."""
    scores, raw_scores, payments, alert_levels, alert_payments = (
        _arrays(rows[name]) for name in ("scores", "raw_scores", "payments", "alert_levels", "alert_payments")
    )
    columns = ("event_date", "model_name", "channel", "token", "transactions", "alerts", "exact", "model_versions")
    for number, (*key, token, transactions, alerts, exact, versions) in enumerate(rows.select(columns).iter_rows()):
        alert = alert_levels[number]
        yield (
            Key(*key),
            token,
            DaySummary(
                event_date=key[0],
                transactions=transactions,
                alerts=alerts,
                levels=Levels(scores[number], raw_scores[number], payments[number], exact),
                cards=rows["cards"][number],
                versions=versions,
                alert_levels=Levels(alert, np.zeros(len(alert)), alert_payments[number], exact) if len(alert) else None,
            ),
        )


def _arrays(lists: pl.Series) -> "list[np.ndarray[Any, np.dtype[Any]]]":
    """One array a row, without a copy; an empty one where the list is null."""
    stored = lists.to_arrow()
    ends = stored.offsets.to_numpy()
    values = stored.values.to_numpy()
    return [values[start:end] for start, end in pairwise(ends)]


def _query(name: str) -> str:
    return (_HERE / f"{name}.sql").read_text()
