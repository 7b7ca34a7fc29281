"""Aggregates from the labels of single transactions: of the last known outcomes, how many were frauds."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.plan.folding.function import Function, LabelRows, Option
from fraud_pipelines.plan.types import Aggregate
from fraud_pipelines.settings import LABEL_DELAY_DAYS


def _last_labels(rows: LabelRows, aggregate: Aggregate, reach: int, delay: int) -> NDArray[Any]:
    assert isinstance(aggregate.over, int)
    frauds, outcomes = rows.last_outcomes(delay, reach, aggregate.over)
    shares: NDArray[np.float64] = np.divide(frauds, outcomes, out=np.full(frauds.size, np.nan), where=outcomes > 0)
    return shares


FUNCTIONS: Final[Mapping[str, Function]] = {
    "last_labels": Function(
        columns=0,
        over="rows",
        description="Share of frauds among {whose} last {over} transactions whose outcome was known by now.",
        formula="frauds over all of the last {over} transactions in (t − {delay_days} d − {days} d, "
        "t − {delay_days} d], or later with a label known before t",
        null_rule="null while no outcome is known",
        gives="share of frauds among the last so many known outcomes",
        options={
            "delay_days": Option(LABEL_DELAY_DAYS, 0, 366, whole=True),
            "days": Option(30, 1, timedelta(days=366).days, whole=True),
        },
        where=False,
        from_labels=_last_labels,
    ),
}
