"""Aggregates from labels: how long ago the first and the last known fraud of a span of time happened."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.plan.folding.function import Function, LabelRows
from fraud_pipelines.plan.types import Aggregate, Direction

_DAY: Final = timedelta(days=1) // timedelta(microseconds=1)


def _days_since_first(rows: LabelRows, _aggregate: Aggregate, window: int, _delay: int) -> NDArray[Any]:
    first, _, found = rows.fraud_instants(window)
    return np.where(found, (rows.instant - first) / _DAY, np.nan)


def _days_since_last(rows: LabelRows, _aggregate: Aggregate, window: int, _delay: int) -> NDArray[Any]:
    _, last, found = rows.fraud_instants(window)
    return np.where(found, (rows.instant - last) / _DAY, np.nan)


def _function(
    which: str, from_labels: Callable[[LabelRows, Aggregate, int, int], NDArray[Any]], direction: Direction
) -> Function:
    return Function(
        columns=0,
        over="span",
        description=f"Days since {{whose}} {which} fraud of the last {{over}}, as far as labels were known by now.",
        formula=f"t − time of the {which} known fraud in (t − {{over}}, t), in days, labels with known_at < t",
        null_rule="null without a known fraud there",
        gives=f"days since the {which} known fraud of the span",
        direction=direction,
        where=False,
        from_labels=from_labels,
    )


FUNCTIONS: Final[Mapping[str, Function]] = {
    "days_since_first_fraud": _function("first", _days_since_first, "high"),
    "days_since_last_fraud": _function("last", _days_since_last, "low"),
}
