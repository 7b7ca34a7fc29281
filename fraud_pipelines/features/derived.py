"""What needs no history: one Polars expression a feature. This is where a fraud analyst adds one.

An expression may use any column of the transaction (``amount``, ``timestamp``, ``country``, …), any feature of the
history (see docs/features.md) and any feature above it in `DERIVED`. Put a line here, and the table, the docs, the
model schema and the stream have it.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from fraud_pipelines.features.declarations import Direction, Feature, Group, Role

_DTYPES: Final[dict[Role, pl.DataType]] = {
    "numeric": pl.Float64(),
    "binary": pl.Int8(),
    "label": pl.String(),
    "hash": pl.String(),
}


@dataclass(frozen=True)
class Derived:
    """A feature and the expression that gives it."""

    feature: Feature
    expression: pl.Expr


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
) -> Derived:
    """Declare a derived feature; by its ``role`` it is stored as a number, as 0 or 1 (binary), or as text.

    With ``daily=True`` the daily models use it from their next training on.
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
    return Derived(feature, expression.cast(feature.dtype).alias(name))


_time = pl.col("timestamp").dt
_hour = pl.col("hour_of_day")

DERIVED: Final[tuple[Derived, ...]] = (
    derived("amount", pl.col("amount"), "The amount of the transaction.", formula="x", daily=True),
    derived(
        "hour_of_day",
        _time.hour(),
        "Hour of the day, UTC.",
        formula="hour(t), 0 to 23",
        group="time",
        direction="both",
        dtype=pl.Int8(),
    ),
    derived(
        "day_of_week",
        _time.weekday() - 1,
        "Day of the week, UTC.",
        formula="weekday(t), Monday 0 to Sunday 6",
        group="time",
        direction="both",
        dtype=pl.Int8(),
    ),
    derived(
        "is_weekend",
        pl.col("day_of_week") >= 5,
        "1 on Saturday and Sunday, UTC.",
        formula="day_of_week ≥ 5",
        group="time",
        role="binary",
    ),
    derived(
        "is_night",
        (_hour < 6) | (_hour > 22),
        "1 from 23:00 to 05:59, UTC.",
        formula="hour_of_day < 6 or hour_of_day > 22",
        group="time",
        role="binary",
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
    ),
)
