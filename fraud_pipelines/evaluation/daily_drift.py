"""The evening's look at drift: each feature of the day beside the days that the models learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from fraud_pipelines.detection.default_schema import daily_schema, why_left_out
from fraud_pipelines.errors import MissingData
from fraud_pipelines.evaluation.drift import Comparison, compare, drifted
from fraud_pipelines.features.daily_distributions import Distributions, keep_distributions, read_distributions
from fraud_pipelines.features.distributions import Distribution
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import overwrite
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.kinds import PAYMENTS

RECENT: Final = timedelta(days=21)
"""The days before from which it is learned how much days differ."""

SAME_WEEKDAYS: Final = 4
"""With so many of them stored, a day is held against its own weekday too: Sundays are alike, and unlike Mondays."""

_REACH: Final = timedelta(weeks=SAME_WEEKDAYS + 1)

_TABLE: Final = "monitoring.feature_drift"

Days = Mapping[date, Distribution]


@dataclass(frozen=True)
class Drift:
    """What the day showed: rows of ``monitoring.feature_drift``, and the distributions they were made from."""

    rows: pl.DataFrame
    distributions: Distributions


@dataclass(frozen=True)
class _Judged:
    """A feature of the day: its row, but for the verdict, and the comparison that the verdict is made from."""

    row: dict[str, object]
    comparison: Comparison


def measure_drift(warehouse: Warehouse, settings: Settings, day: date) -> Drift:
    """How each feature and column that the daily models use lies on ``day``, but for hashes; nothing is stored.

    It is compared with the training window, and, once there are `SAME_WEEKDAYS` of them, with the same weekday of the
    weeks before: only what differs from both has drifted. What the models leave out is not judged. There are no rows
    on the first day, which has nothing to be compared with.

    Raises:
        MissingData: no features are stored for the day.
    """
    with warehouse.connect(read_only=True):
        stored = warehouse.read(
            "SELECT DISTINCT event_date FROM features.transaction_features WHERE event_date BETWEEN ? AND ? ORDER BY 1",
            [day - max(_REACH, timedelta(days=settings.training_days)), day],
        )
        days: list[date] = stored["event_date"].to_list()
        if day not in days:
            raise MissingData(f"no features are stored for {day}: materialize features/transaction_features first")
        declared, stored_columns = daily_schema(plan_in_force(settings)), _columns(warehouse)
        features = [name for name, of in declared.items() if name in stored_columns and of.role != "hash"]
        found = read_distributions(warehouse, features, days)
        schema = warehouse.read(f"SELECT * FROM {_TABLE} LIMIT 0").schema
    window = [other for other in days if day - timedelta(days=settings.training_days) <= other < day]
    judged = {name: _judged(name, found.by_day[name], day, window) for name in features} if window else {}
    named = drifted({name: each.comparison for name, each in judged.items()})
    rows = [each.row | {"event_date": day, "feature": name, "drifted": name in named} for name, each in judged.items()]
    return Drift(pl.DataFrame(rows, schema=schema), found)


def store_drift(warehouse: Warehouse, drift: Drift, day: date) -> None:
    """Replace the day's rows, and keep the distributions for the days to come, in one transaction."""
    with warehouse.transaction() as connection:
        overwrite(connection, _TABLE, drift.rows, event_date=day)
        keep_distributions(connection, drift.distributions)


def _columns(warehouse: Warehouse) -> set[str]:
    """Of the features, and of the payments that they are computed from."""
    return {
        column
        for table in ("features.transaction_features", PAYMENTS)
        for column in warehouse.read(f"SELECT * FROM {table} LIMIT 0").columns
    }


def _judged(name: str, by_day: Days, day: date, window: Sequence[date]) -> _Judged:
    today, before = by_day[day], {other: found for other, found in by_day.items() if other < day}
    trained_on = [before[other] for other in window]
    same = [found for other, found in before.items() if other.weekday() == day.weekday()]
    beside = {_the_days_before(len(window)): compare(today, trained_on, _weeks(before, day))}
    if len(same) >= SAME_WEEKDAYS:
        beside[f"the last {len(same)} {day:%A}s"] = compare(today, same, _weekdays(before))
    left_out = why_left_out(name, [(each.has_values, each.varies) for each in trained_on])
    first, *others = beside.values()
    p_values = [each.p_value for each in beside.values() if each.p_value is not None]
    judged = Comparison(
        psi=min(each.psi for each in beside.values()),
        psi_expected=first.psi_expected,
        # Either comparison may tell, so that chance has as many chances.
        p_value=min(1.0, len(p_values) * min(p_values)) if p_values and not left_out else None,
    )
    row: dict[str, object] = {
        "psi": first.psi,
        "rows": today.rows,
        "reference_rows": sum(each.rows for each in trained_on),
        "weekday_psi": others[0].psi if others else None,
        "compared_with": f"not judged, since the models leave it out: {left_out}" if left_out else " and ".join(beside),
        "psi_expected": judged.psi_expected,
        "p_value": judged.p_value,
    }
    return _Judged(row, judged)


def _the_days_before(number: int) -> str:
    return "the day before" if number == 1 else f"the {number} days before"


def _weeks(before: Days, day: date) -> list[list[Distribution]]:
    """The days before, as far as they are `RECENT`, in sevens: a shift two weeks ago is no spread of this week's."""
    groups: dict[int, list[Distribution]] = {}
    for other, found in before.items():
        if day - other <= RECENT:
            groups.setdefault((day - other - timedelta(days=1)).days // 7, []).append(found)
    return list(groups.values())


def _weekdays(before: Days) -> list[list[Distribution]]:
    """The days before by weekday."""
    groups: dict[int, list[Distribution]] = {}
    for other, found in before.items():
        groups.setdefault(other.weekday(), []).append(found)
    return list(groups.values())
