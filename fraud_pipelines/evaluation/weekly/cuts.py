"""Figures of the decided payments, cut by day, merchant, country, segment, model, rule or kind of fraud.

They are those of `evaluation.estimates`: of all frauds that are ever reported, corrected for chargebacks that are still
to come, by the labels known when the week ended.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.decisions.policies import Policy
from fraud_pipelines.evaluation.estimates import Figure, estimate
from fraud_pipelines.evaluation.intervals import known_frauds
from fraud_pipelines.evaluation.lateness import ReportingDelay
from fraud_pipelines.evaluation.weekly.table import Cell, Column, Estimate
from fraud_pipelines.storage.warehouse import Warehouse

_HERE: Final = Path(__file__).parent
MOST_ROWS: Final = 10
"""Of a cut those with the most value in known frauds, then with the most alerts, are shown."""

DAY: Final = "d.event_date"
KIND: Final = "coalesce(told.scenario, 'not named')"
RULE: Final = "CASE WHEN starts_with(d.reason, 'rule:') THEN d.reason[6:] END"
MODEL: Final = """
    CASE WHEN starts_with(d.reason, 'rule:') THEN 'a rule'
         ELSE coalesce(nullif(scoring.deciding_model(d.reason, d.model_versions), ''), 'no model')
    END
"""

COLUMNS: Final = (
    Column("payments"),
    Column("amount", "money"),
    Column("alerts"),
    Column("precision", "share"),
    Column("known frauds"),
    Column("recall", "share"),
    Column("recall at least", "share"),
    Column("value saved", "money"),
    Column("lost, known", "money"),
    Column("lost, estimated", "money"),
)
FRAUD_COLUMNS: Final = COLUMNS[4:]
"""Of a cut that only frauds have."""


@dataclass(frozen=True)
class Known:
    """What was known at the end of ``as_of``.

    Attributes:
        unreported_share: share of the missed frauds that nobody ever reports.
    """

    warehouse: Warehouse
    as_of: date
    chargebacks: ReportingDelay
    unreported_share: float


def column_cut(name: str) -> str:
    """The cut by a column of a transaction."""
    return f"""t.{_quoted(name)}"""


def segment_cut(policy: Policy) -> str | None:
    """The cut by the policy's segments, the first that fits; None where it has none."""
    if not policy.segments:
        return None
    cases = []
    for segment in policy.segments:
        fits = " AND ".join(
            f"t.{_quoted(column)} IN ({', '.join(map(_literal, values))})" for column, values in segment.selectors
        )
        cases.append(f"WHEN {fits} THEN {_literal(segment.name)}")
    return f"CASE {' '.join(cases)} ELSE 'no segment' END"


def rows_by(known: Known, cut: str, first: date, last: date, *, most: int | None = MOST_ROWS) -> list[list[Cell]]:
    """A row of `COLUMNS` for each subject of a cut of the payments decided from ``first`` to ``last``.

    Payments of which the cut says nothing are left out.

    Args:
        cut: SQL over the decision ``d`` and the transaction ``t``.
        most: rows; None for all of them, in order of their subject.
    """
    payments = _read(known, "payments_by", cut, first, last).drop_nulls("subject")
    frauds = _read(known, "frauds_by", cut, first, last).drop_nulls("subject")
    rows: list[list[Cell]] = []
    for subject in _chosen(payments, frauds, most):
        days = payments.filter(subject=subject)
        number, alerts, labelled = (int(days[name].sum()) for name in ("payments", "alerts", "labelled"))
        own = frauds.filter(subject=subject)
        figures = _figures(known, own, dict(days.select("event_date", "payments").iter_rows()), alerts, labelled)
        rows.append([subject, number, math.fsum(days["amount"]), alerts, figures[0], own.height, *figures[1:]])
    return rows


def rows_by_kind(known: Known, first: date, last: date) -> list[list[Cell]]:
    """A row of `FRAUD_COLUMNS` for each kind of fraud that a label named; none where no label names one."""
    frauds = _read(known, "frauds_by", KIND, first, last)
    payments = _read(known, "payments_by", "'all'", first, last)
    if set(frauds["subject"]) <= {"not named"}:
        return []
    by_day = dict(payments.select("event_date", "payments").iter_rows())
    rows: list[list[Cell]] = []
    for subject in _chosen(frauds.with_columns(alerts=0), frauds, MOST_ROWS):
        own = frauds.filter(subject=subject)
        figures = _figures(known, own, by_day, int(own["alert"].sum()), own.height)
        rows.append([subject, own.height, *figures[1:]])
    return rows


def _figures(
    known: Known, frauds: pl.DataFrame, payments: dict[date, int], alerts: int, labelled: int
) -> Sequence[Cell]:
    """Precision, recall, its lower bound, the value saved, that known to be lost, and an estimate of all that is."""
    reported = known.chargebacks.reported(payments, complete=labelled == sum(payments.values()))
    found = estimate(
        known_frauds(frauds),
        alerts=alerts,
        labelled=labelled,
        reported=reported,
        # The cost is then what is lost, and nothing else.
        review_cost=0.0,
        loss_share=1.0,
        unreported_share=known.unreported_share,
    )
    number = frauds.height
    return (
        Estimate.told(found.precision, alerts),
        Estimate.told(found.recall, number),
        Estimate.told(Figure(found.recall_lower_bound, None, None), number),
        math.fsum(frauds.filter("alert")["amount"]),
        math.fsum(frauds.filter(~pl.col("alert"))["amount"]),
        Estimate.told(found.cost, number),
    )


def _chosen(payments: pl.DataFrame, frauds: pl.DataFrame, most: int | None) -> list[str]:
    subjects = payments.group_by("subject").agg(pl.col("alerts").sum())
    if most is None:
        return subjects["subject"].sort().to_list()
    value = frauds.group_by("subject").agg(pl.col("amount").sum())
    ranked = subjects.join(value, on="subject", how="left").with_columns(pl.col("amount").fill_null(0.0))
    ordered = ranked.sort(["amount", "alerts", "subject"], descending=[True, True, False])
    return ordered["subject"].head(most).to_list()


def _read(known: Known, query: str, cut: str, first: date, last: date) -> pl.DataFrame:
    text = (_HERE / f"{query}.sql").read_text().replace("{cut}", cut)
    return known.warehouse.read(text, {"first": first, "last": last, "known_before": known.as_of + timedelta(days=1)})


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
