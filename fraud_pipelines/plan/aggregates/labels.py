"""Aggregates from labels: known frauds, their rate, how many transactions that is about, and days since the last."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.plan.folding.function import NEVER_NULL, Function, LabelRows, Option
from fraud_pipelines.plan.types import Aggregate
from fraud_pipelines.settings import LABEL_DELAY_DAYS

_DAY: Final = timedelta(days=1) // timedelta(microseconds=1)

_DELAY: Final = {"delay_days": Option(LABEL_DELAY_DAYS, 0, 366, whole=True)}
"""How old a transaction is that counts as legitimate without a label. The installation's setting is the default."""
_PRIOR: Final = {"weight": Option(0.1, 0, 1_000), "prior": Option(0.005, 1e-6, 1)}
"""Frauds that a rate begins with, and the rate without history: with the defaults 0.1 in 20 transactions."""

_RATED: Final = (
    "transactions in (t − {delay_days} d − {over}, t − {delay_days} d], and later ones with a label known before t"
)


def _fraud_count(rows: LabelRows, _aggregate: Aggregate, window: int, _delay: int) -> NDArray[Any]:
    return rows.frauds(window)


def _labelled_count(rows: LabelRows, _aggregate: Aggregate, window: int, delay: int) -> NDArray[Any]:
    return rows.labelled(delay, window)


def _fraud_rate(rows: LabelRows, aggregate: Aggregate, window: int, delay: int) -> NDArray[Any]:
    weight, prior = aggregate.options["weight"], aggregate.options["prior"]
    frauds = rows.frauds(window) + weight
    transactions = rows.labelled(delay, window) + weight / prior
    if weight:
        return frauds / transactions
    # Without transactions, the prior rate.
    rates: NDArray[np.float64] = np.divide(
        frauds, transactions, out=np.full(transactions.size, prior), where=transactions > 0
    )
    return rates


def _days_since_fraud(rows: LabelRows, _aggregate: Aggregate, _window: int, _delay: int) -> NDArray[Any]:
    latest, found = rows.latest_fraud()
    return np.where(found, (rows.instant - latest) / _DAY, np.nan)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "fraud_count": Function(
        columns=0,
        over="span",
        description="{Whose} frauds in the last {over}, as far as labels were known by now.",
        formula="known frauds in (t − {over}, t), labels with known_at < t",
        null_rule=NEVER_NULL,
        gives="known frauds",
        sql_type="INTEGER",
        where=False,
        version=2,
        from_labels=_fraud_count,
    ),
    "fraud_rate": Function(
        columns=0,
        over="span",
        description="{Whose} fraud rate over {over}, as far as labels were known by now.",
        formula="(k + {weight}) / (n + {weight} / {prior}); k: known frauds in (t − {delay_days} d − {over}, t), "
        f"labels with known_at < t; n: {_RATED}",
        null_rule=NEVER_NULL,
        gives="known frauds over transactions, shrunk",
        options=_DELAY | _PRIOR,
        where=False,
        version=2,
        from_labels=_fraud_rate,
    ),
    "labelled_count": Function(
        columns=0,
        over="span",
        description="{Whose} transactions that the fraud rate over {over} is about.",
        formula=_RATED,
        null_rule=NEVER_NULL,
        gives="the transactions of that rate",
        sql_type="INTEGER",
        options=_DELAY,
        where=False,
        version=2,
        from_labels=_labelled_count,
    ),
    "days_since_fraud": Function(
        columns=0,
        over="none",
        description="Days since {whose} latest fraud that was known by now.",
        formula="t − time of the latest fraud before t, in days, labels with known_at < t",
        null_rule="null without a known fraud",
        gives="days since the latest known fraud, however old",
        direction="low",
        where=False,
        from_labels=_days_since_fraud,
        for_ever=True,
    ),
}
