"""What needs no history: one Polars expression a feature. This is where a fraud analyst adds one.

An expression may use any column of the transaction (``amount``, ``timestamp``, ``country``, …), any feature of the
history (see docs/features.md) and any feature above it in `DERIVED`. Put a line here, and the table, the docs, the
model schema and the stream have it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from fraud_pipelines.features.declarations import Direction, Feature, Group, Role

_DTYPES: Final[dict[Role, pl.DataType]] = {
    "numeric": pl.Float64(),
    "binary": pl.Int8(),
    "label": pl.String(),
    "hash": pl.String(),
}


OfOne = Callable[[Mapping[str, Any]], float | str | None]


@dataclass(frozen=True)
class Derived:
    """A feature, the expression that gives it, and, if there is one, a function that says the same of a single row."""

    feature: Feature
    expression: pl.Expr
    of_one: OfOne | None = None


def derived(
    name: str,
    expression: pl.Expr,
    description: str,
    *,
    formula: str,
    role: Role = "numeric",
    group: Group = "derived",
    direction: Direction = "high",
    null_rule: str = "never null",
    requires: tuple[str, ...] = (),
    dtype: pl.DataType | None = None,
    daily: bool = False,
    of_one: OfOne | None = None,
) -> Derived:
    """Declare a derived feature; by its ``role`` it is stored as a number, as 0 or 1 (binary), or as text.

    With ``daily=True`` the daily models use it from their next training on. The stream can do without ``of_one``; if
    every feature has one, a single transaction is spared Polars' planning, which takes longer than all the rest.
    """
    feature = Feature(
        name=name,
        description=description,
        formula=formula,
        window="this transaction",
        null_rule=null_rule,
        group=group,
        dtype=dtype or _DTYPES[role],
        role=role,
        direction=direction,
        requires=requires,
        daily=daily,
    )
    return Derived(feature, expression.cast(feature.dtype).alias(name), of_one)


def _instant(row: Mapping[str, Any]) -> datetime:
    instant: datetime = row["timestamp"]
    return instant


def _impossible_travel(country_changed: int | None, minutes: float | None) -> int | None:
    return None if country_changed is None or minutes is None else country_changed * (minutes < 120)


_time = pl.col("timestamp").dt
_hour = pl.col("hour_of_day")

DERIVED: Final[tuple[Derived, ...]] = (
    derived(
        "amount",
        pl.col("amount"),
        "The amount of the transaction.",
        formula="x",
        daily=True,
        of_one=lambda row: float(row["amount"]),
    ),
    derived(
        "hour_of_day",
        _time.hour(),
        "Hour of the day, UTC.",
        formula="hour(t), 0 to 23",
        group="time",
        direction="both",
        dtype=pl.Int8(),
        of_one=lambda row: _instant(row).hour,
    ),
    derived(
        "day_of_week",
        _time.weekday() - 1,
        "Day of the week, UTC.",
        formula="weekday(t), Monday 0 to Sunday 6",
        group="time",
        direction="both",
        dtype=pl.Int8(),
        of_one=lambda row: _instant(row).weekday(),
    ),
    derived(
        "is_weekend",
        pl.col("day_of_week") >= 5,
        "1 on Saturday and Sunday, UTC.",
        formula="day_of_week ≥ 5",
        group="time",
        role="binary",
        of_one=lambda row: int(row["day_of_week"] >= 5),
    ),
    derived(
        "is_night",
        (_hour < 6) | (_hour > 22),
        "1 from 23:00 to 05:59, UTC.",
        formula="hour_of_day < 6 or hour_of_day > 22",
        group="time",
        role="binary",
        of_one=lambda row: int(row["hour_of_day"] < 6 or row["hour_of_day"] > 22),
    ),
    derived(
        "impossible_travel",
        pl.col("country_changed") * (pl.col("minutes_since_last") < 120),
        "1 if the country changed in under 120 minutes, else 0.",
        formula="country_changed and minutes_since_last < 120",
        group="geography",
        role="binary",
        null_rule="null where country_changed is null",
        requires=("country",),
        of_one=lambda row: _impossible_travel(row["country_changed"], row["minutes_since_last"]),
    ),
)
