"""Outcomes: what became of scores and decisions, read as it was known at the end of a day."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.detection.backends import MODEL_NAMES
from fraud_pipelines.detection.daily_models import DAILY_MODEL, ENSEMBLE_MODEL
from fraud_pipelines.evaluation.lateness import HORIZON, ReportingDelay
from fraud_pipelines.storage.warehouse import Warehouse

_DAY: Final = timedelta(days=1)
_HERE: Final = Path(__file__).parent


def matured_window(as_of: date, *, label_delay_days: int, evaluation_days: int) -> tuple[date, date]:
    """First and last event date, both included, that can be judged at the end of ``as_of``."""
    last = as_of - timedelta(days=label_delay_days)
    return last - timedelta(days=evaluation_days - 1), last


def matured_scores(
    warehouse: Warehouse,
    as_of: date,
    *,
    label_delay_days: int,
    evaluation_days: int,
    model_name: str,
    channel: str = "batch",
) -> pl.DataFrame:
    """Scores of one model in the matured window, with the labels known before the end of ``as_of``.

    Nothing later than ``as_of`` is looked at, so the answer stays the same whatever comes after. Payments of which only
    a verdict tells the outcome are left out as long as they have none.

    Returns:
        ``transaction_id``, ``user_id``, ``event_date``, ``amount``, ``score``, ``raw_score``, ``model_version``,
        ``alert`` (the model called it an anomaly), ``is_fraud`` (false without a label: whoever was not complained
        about within the delay counts as legitimate), ``labelled``, ``late`` (a fraud known by its chargeback alone);
        sorted by event date and transaction.
    """
    first, last = matured_window(as_of, label_delay_days=label_delay_days, evaluation_days=evaluation_days)
    return warehouse.read(
        _query("matured_scores"),
        {
            "model_name": model_name,
            "channel": channel,
            "first": first,
            "last": last,
            "known_before": as_of + _DAY,
        },
    )


def matured_decisions(
    warehouse: Warehouse,
    as_of: date,
    *,
    label_delay_days: int,
    evaluation_days: int,
    policy: str | None = None,
    channel: str = "batch",
    screening_model: str = DAILY_MODEL,
    second_stage: str = ENSEMBLE_MODEL,
    segments: Sequence[str] = (),
    known_before: date | None = None,
    every: bool = False,
) -> pl.DataFrame:
    """Decisions in the matured window, with the labels known before the end of ``as_of``, or before ``known_before``.

    With a ``policy``, only its decisions: another one's scores are anchored at another contamination. With ``every``,
    also payments of which only a verdict tells the outcome, and there is none.

    Returns:
        The columns of `matured_scores`, where ``score`` is the final one and ``alert`` says that the decision was
        not to approve; ``screening_score`` and ``second_stage_score``, that of the ``second_stage`` or of the ensemble
        in its place (see ``scoring.stage_scores``; null where there is neither); and ``decision``, ``reason``,
        the columns of ``segments``, ``label_source``.
    """
    first, last = matured_window(as_of, label_delay_days=label_delay_days, evaluation_days=evaluation_days)
    return warehouse.read(
        with_segments(_query("matured_decisions"), segments),
        {
            "channel": channel,
            "first": first,
            "last": last,
            "known_before": known_before or as_of + _DAY,
            "every": every,
            "policy": policy,
            "screening_model": screening_model,
            "second_stage": second_stage,
            "ensemble_model": ENSEMBLE_MODEL,
        },
    )


def last_known_day(warehouse: Warehouse) -> date | None:
    """The last day of which the warehouse knows anything."""
    found = warehouse.read(
        """
        SELECT greatest((SELECT max(known_at)::DATE FROM feedback.labels),
                        (SELECT max(event_date) FROM raw.transactions)) AS day
        """
    ).item()
    return found if isinstance(found, date) else None


def scored_models(warehouse: Warehouse, first: date, last: date) -> list[tuple[str, str]]:
    """(model name, channel) of every model that scored on a day from ``first`` to ``last``, in order."""
    return warehouse.read(
        """
        SELECT DISTINCT model_name, channel FROM scoring.transaction_scores
        WHERE event_date BETWEEN $first AND $last ORDER BY model_name, channel
        """,
        {"first": first, "last": last},
    ).rows()


def deciding_channels(warehouse: Warehouse, first: date, last: date, *, policy: str) -> list[str]:
    """The channels through which the policy decided on a day from ``first`` to ``last``, in order."""
    return (
        warehouse.read(
            """
            SELECT DISTINCT channel FROM scoring.decisions
            WHERE event_date BETWEEN $first AND $last AND policy = $policy ORDER BY channel
            """,
            {"first": first, "last": last, "policy": policy},
        )
        .to_series()
        .to_list()
    )


def screening_model(channel: str) -> str:
    """The model that screens the channel."""
    return MODEL_NAMES["ecod"] if channel == "stream" else DAILY_MODEL


def scenarios_known(warehouse: Warehouse, first: date, as_of: date) -> pl.DataFrame:
    """``transaction_id`` and ``scenario`` of the frauds whose kind a label named, between ``first`` and ``as_of``.

    Where several labels name one, the latest counts.
    """
    return warehouse.read(
        """
        SELECT transaction_id, arg_max(scenario, known_at) AS scenario FROM feedback.label_history
        WHERE actual_fraud AND scenario IS NOT NULL
          AND known_at >= $first::TIMESTAMP AND known_at < $known_before::TIMESTAMP
        GROUP BY transaction_id ORDER BY transaction_id
        """,
        {"first": first, "known_before": as_of + _DAY},
    )


def reporting_delay(warehouse: Warehouse, as_of: date) -> ReportingDelay:
    """How long chargebacks take, by those known at the end of ``as_of`` on payments of the last `HORIZON` days."""
    chargebacks = warehouse.read(
        _query("chargeback_delays"),
        {"known_before": as_of + _DAY, "first": as_of - timedelta(days=HORIZON - 1), "last": as_of},
    )
    return ReportingDelay(chargebacks, as_of)


def recent_scores(
    warehouse: Warehouse,
    as_of: date,
    *,
    days: int = 7,
    policy: str | None = None,
    channel: str = "batch",
    screening_model: str = DAILY_MODEL,
    second_stage: str = ENSEMBLE_MODEL,
    segments: Sequence[str] = (),
) -> pl.DataFrame:
    """The scores of the last ``days`` days up to ``as_of``, whether labelled or not: what alert volume is read from.

    Returns:
        ``transaction_id``, ``event_date``, ``decision``, ``reason``, the columns of ``segments``, ``score``,
        ``screening_score``, ``second_stage_score``.
    """
    return warehouse.read(
        with_segments(_query("recent_scores"), segments),
        {
            "channel": channel,
            "first": as_of - timedelta(days=days - 1),
            "last": as_of,
            "policy": policy,
            "screening_model": screening_model,
            "second_stage": second_stage,
            "ensemble_model": ENSEMBLE_MODEL,
        },
    )


def outcomes_learned_on(warehouse: Warehouse, day: date) -> pl.DataFrame:
    """The rows of ``feedback.decision_outcomes`` for ``day``: each label that became known then, and its decision.

    A label judges every decision on its transaction, one row a channel; decisions on days after ``day`` are not
    looked at, and a label without a decision gives no row.
    """
    return warehouse.read(_query("outcomes_learned"), {"day": day, "known_before": day + _DAY})


def with_segments(query: str, segments: Sequence[str]) -> str:
    """The query with the columns of a transaction that segments are chosen by, in the place of ``{columns},``."""
    return query.replace("{columns},", " ".join(f't."{name}",' for name in segments))


def _query(name: str) -> str:
    return (_HERE / f"{name}.sql").read_text()
