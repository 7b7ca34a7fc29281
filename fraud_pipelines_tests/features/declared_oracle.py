"""Every aggregate once more: slow, plain, and written from the words of docs/declarations.md alone.

A function that has a reference of its own is taken at its word.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.types import Aggregate, EntityPlan
from fraud_pipelines_tests.features.population_oracle import profile_of, usual_of

Row = dict[str, Any]
Value = float | None
Condition = Callable[[Row], bool]


def aggregates_of(
    entity: EntityPlan, rows: Sequence[Row], conditions: Mapping[str, Condition]
) -> dict[str, dict[str, Value]]:
    """The entity's aggregates of each transaction, by transaction_id.

    Args:
        conditions: what each ``where`` means.
    """
    lives: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["timestamp"], row["transaction_id"])):
        key = tuple(row[name] for name in entity.key)
        if None not in key:
            lives.setdefault(key, []).append(row)
    found = {row["transaction_id"]: dict[str, Value]() for row in rows}
    for row in rows:
        if None in (row[name] for name in entity.key):
            found[row["transaction_id"]] = dict.fromkeys((each.name for each in entity.aggregates), None)
    for life in lives.values():
        told = [dict(row) for row in life]  # with the aggregates that are known so far
        for each in entity.aggregates:
            counts = [each.where is None or conditions[each.where](row) for row in life]
            alike = [row for row in rows if each.where is None or conditions[each.where](row)]
            values = [_value(each, told, counts, i, alike) for i in range(len(told))]
            for row, value in zip(told, values, strict=True):
                row[each.name] = value
                found[row["transaction_id"]][each.name] = value
    return found


def _value(each: Aggregate, life: list[Row], counts: list[bool], i: int, alike: Sequence[Row]) -> Value:  # noqa: PLR0911
    reference = FUNCTIONS[each.how].reference
    if reference:
        return reference(each, life, counts, i)
    if each.how in ("count", "sum", "mean", "std", "min", "max", "distinct"):
        inside = [j for j in _window(each, life, i) if counts[j]]
        return _statistic(each, [life[j][each.of[0]] if each.of else 1 for j in inside])
    before = [j for j in range(i) if counts[j]]
    if each.how == "lag":
        assert isinstance(each.over, int)
        return life[before[-each.over]][each.of[0]] if len(before) >= each.over else None
    if each.how in _PROFILE:
        return _profile(each, life, counts, i, alike)
    if not before:
        return None
    now, last = life[i], life[before[-1]]
    gap: timedelta = now["timestamp"] - last["timestamp"]
    if each.how == "changed":
        pair = (now[each.of[0]], last[each.of[0]])
        return None if None in pair else float(pair[0] != pair[1])
    if each.how == "minutes_since_last":
        return gap / timedelta(minutes=1)
    if each.how == "days_since_last":
        return gap / timedelta(days=1)
    if each.how == "days_since_first":
        since: timedelta = now["timestamp"] - life[before[0]]["timestamp"]
        return since / timedelta(days=1)
    if each.how == "ratio_to_mean":
        known = [life[j][each.of[0]] for j in before if life[j][each.of[0]] is not None]
        value = now[each.of[0]]
        total = math.fsum(known)
        return None if value is None or not known or total == 0 else value / (total / len(known))
    assert each.how == "speed", f"{each.how} has no reference: its module in plan/aggregates/ is to give one"
    places = [now[name] for name in each.of] + [last[name] for name in each.of]
    if None in places or not gap:
        return None
    return _kilometres(*places) / (gap / timedelta(hours=1))


def _window(each: Aggregate, life: list[Row], i: int) -> list[int]:
    if isinstance(each.over, int):
        return list(range(max(i + 1 - each.over, 0), i + 1))
    assert each.over is not None
    begin: datetime = life[i]["timestamp"] - each.over
    return [j for j in range(i + 1) if life[j]["timestamp"] > begin]


def _statistic(each: Aggregate, values: list[Any]) -> Value:
    known = [value for value in values if value is not None]
    if each.how == "count":
        return len(values)
    if each.how == "distinct":
        return len({value + 0 if isinstance(value, float) else value for value in known})
    if each.how == "sum":
        return math.fsum(known)
    if not known or (each.how == "std" and len(known) < 2):
        return None
    functions: dict[str, Callable[[list[float]], float]] = {
        "mean": statistics.fmean,
        "std": statistics.stdev,
        "min": min,
        "max": max,
    }
    return functions[each.how](known)


_PROFILE = ("z", "rz", "log_ratio", "max_ratio", "outsized")


def _profile(each: Aggregate, life: list[Row], counts: list[bool], i: int, alike: Sequence[Row]) -> Value:
    options = each.options
    if each.how == "outsized":
        begin = life[i]["timestamp"] - timedelta(days=options["outsized_days"])
        earlier = [j for j in range(i) if counts[j] and life[j]["timestamp"] > begin]
        z = [_measure("z", each, life, counts, j, alike) for j in earlier]
        return sum((value or 0.0) > options["outsized_z"] for value in z)
    return _measure(each.how, each, life, counts, i, alike)


def _measure(how: str, each: Aggregate, life: list[Row], counts: list[bool], i: int, alike: Sequence[Row]) -> Value:
    column, value = each.of[0], life[i][each.of[0]]
    if value is None:
        return None
    known = [life[j][column] for j in range(i) if counts[j] and life[j][column] is not None]
    last = known[-int(each.options["window"]) :]
    usual = usual_of(alike, life[i], column) if alike and column in alike[0] else None
    return profile_of(last, value, usual, each.options)[how]


def _kilometres(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """By the spherical law of cosines, where that is exact enough, and by vectors."""
    places = [
        np.array([math.cos(a) * math.cos(b), math.cos(a) * math.sin(b), math.sin(a)])
        for a, b in (
            (math.radians(latitude), math.radians(longitude)),
            (math.radians(other_latitude), math.radians(other_longitude)),
        )
    ]
    across = float(np.linalg.norm(np.cross(places[0], places[1])))
    return 6371.0088 * math.atan2(across, float(np.dot(places[0], places[1])))
