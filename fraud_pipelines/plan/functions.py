"""The functions that an aggregate may be computed by: what each takes, what it gives, and words about it.

This says what may be declared. How a value is computed is the kernel's matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from fraud_pipelines.plan.types import ColumnType, Direction, Role
from fraud_pipelines.settings import LABEL_DELAY_DAYS

Over = Literal["none", "rows", "span", "either"]
"""What ``over`` may be: absent, a number of rows, a span of time, or one of the latter two."""

NUMBERS: Final[frozenset[ColumnType]] = frozenset({"number", "integer"})
VALUES: Final[frozenset[ColumnType]] = frozenset({"text", "number", "integer", "boolean"})


@dataclass(frozen=True)
class Option:
    """A parameter of a function: its default and its bounds, both inclusive; ``whole`` ones are whole numbers."""

    default: float
    minimum: float
    maximum: float
    whole: bool = False


@dataclass(frozen=True)
class Function:
    """What may be declared with one ``how``.

    Attributes:
        columns: how many columns ``of`` names.
        types: of which types these may be.
        over: which windows it takes.
        sql_type: the DuckDB type of its value.
        options: further parameters, by name.
        role, direction: how a model gets the value, unless the declaration says otherwise.
        labels: whether it is computed from labels. Such a feature comes after all others of every entity.
        where: whether rows can be chosen by a condition.
        description, formula, null_rule: words about the feature, see `fraud_pipelines.plan.words`.
        if_complete: the null rule where every row counts and has the value; by default the same.
        version: raised when the function gives another value for the same rows.
    """

    columns: int
    over: Over
    description: str
    formula: str
    null_rule: str
    types: frozenset[ColumnType] = NUMBERS
    sql_type: str = "DOUBLE"
    options: Mapping[str, Option] = field(default_factory=dict)
    role: Role = "numeric"
    direction: Direction = "high"
    labels: bool = False
    where: bool = True
    if_complete: str = ""
    version: int = 1

    @property
    def complete_null_rule(self) -> str:
        """When the feature is null, if every row counts and has the value."""
        return self.if_complete or self.null_rule


_WINDOW: Final = Option(50, 1, 1_000, whole=True)
_SHRUNK: Final = {"window": _WINDOW, "weight": Option(5, 0, 1_000), "share": Option(0.5, 0, 10)}
_OUTSIZED: Final = {"outsized_z": Option(4, 0, 100), "outsized_days": Option(14, 1, 366, whole=True)}


_DELAY: Final = {"delay_days": Option(LABEL_DELAY_DAYS, 0, 366, whole=True)}
"""How old a transaction is that counts as legitimate without a label. The installation's setting is the default."""
_PRIOR: Final = {"weight": Option(0.1, 0, 1_000), "prior": Option(0.005, 1e-6, 1)}
"""Frauds that a rate begins with, and the rate without history: with the defaults 0.1 in 20 transactions."""

_NEVER: Final = "never null"
_FIRST: Final = "null for the first transaction"
_ZERO: Final = "never null; 0 without history"
_RATED: Final = (
    "transactions in (t − {delay_days} d − {over}, t − {delay_days} d], and later ones with a label known before t"
)

FUNCTIONS: Final[Mapping[str, Function]] = {
    "count": Function(
        0,
        "either",
        "{Whose} transactions {within}.",
        "count {window}",
        "never null",
        sql_type="INTEGER",
    ),
    "sum": Function(1, "either", "Sum of {of} of {whose} transactions {within}.", "Σx {window}", "never null"),
    "mean": Function(
        1,
        "either",
        "Mean of {of} of {whose} transactions {within}.",
        "Σx / n {window}",
        "null without a value",
        if_complete=_NEVER,
    ),
    "std": Function(
        1,
        "either",
        "Standard deviation of {of} of {whose} transactions {within}.",
        "sqrt(Σ(x − mean)² / (n − 1)) {window}",
        "null with fewer than two values",
        if_complete="null with one transaction",
    ),
    "min": Function(
        1,
        "either",
        "Smallest {of} of {whose} transactions {within}.",
        "min(x) {window}",
        "null without a value",
        if_complete=_NEVER,
    ),
    "max": Function(
        1,
        "either",
        "Largest {of} of {whose} transactions {within}.",
        "max(x) {window}",
        "null without a value",
        if_complete=_NEVER,
    ),
    "lag": Function(
        1,
        "rows",
        "{of} of {whose} {back}.",
        "x[i − {over}]",
        "null for the {first}",
        direction="both",
    ),
    "distinct": Function(
        1,
        "either",
        "Different values of {of} among {whose} transactions {within}.",
        "number of different x {window}",
        "never null",
        types=VALUES,
        sql_type="INTEGER",
    ),
    "changed": Function(
        1,
        "none",
        "1 if {of} differs from that of {whose} previous transaction, else 0.",
        "x[i] ≠ x[i − 1]",
        f"{_FIRST}, and where either {{of}} is unknown",
        types=VALUES,
        sql_type="TINYINT",
        role="binary",
    ),
    "minutes_since_last": Function(
        0, "none", "Minutes since {whose} previous transaction.", "t[i] − t[i − 1], in minutes", _FIRST, direction="low"
    ),
    "days_since_last": Function(
        0, "none", "Days since {whose} previous transaction.", "t[i] − t[i − 1], in days", _FIRST, direction="low"
    ),
    "days_since_first": Function(
        0, "none", "Days since {whose} first transaction.", "t[i] − t[0], in days", _FIRST, direction="low"
    ),
    "ratio_to_mean": Function(
        1,
        "none",
        "{of} as a multiple of its mean over all {whose} previous transactions.",
        "x[i] / (Σ x[0 … i − 1] / i)",
        f"{_FIRST}, and where all previous values were 0",
    ),
    "speed": Function(
        2,
        "none",
        "Speed at which {whose} previous transaction lies from this one, in km/h.",
        "great-circle distance / (t[i] − t[i − 1])",
        f"{_FIRST}, where either place is unknown, and over no time",
    ),
    "z": Function(
        1,
        "none",
        "Shrunk z-score of {of} among {whose} previous {window_rows} (mean m, population standard deviation s).",
        "(x − m) / (sqrt((n s² + {weight} ({share} × m)²) / (n + {weight})) + 1)",
        _ZERO,
        options=_SHRUNK,
    ),
    "rz": Function(
        1,
        "none",
        "Shrunk z-score of {of} by median m and IQR of {whose} previous {window_rows}.",
        "(x − m) / ((n IQR/1.349 + {weight} ({share} × m)) / (n + {weight}) + 1)",
        _ZERO,
        options=_SHRUNK,
    ),
    "log_ratio": Function(
        1,
        "none",
        "Log ratio of {of} to the median of {whose} previous {window_rows}.",
        "ln((x + 1) / (median + 1))",
        _ZERO,
        options={"window": _WINDOW},
    ),
    "max_ratio": Function(
        1,
        "none",
        "Log ratio of {of} to the largest of {whose} previous {window_rows}.",
        "ln((x + 1) / (max + 1))",
        _ZERO,
        options={"window": _WINDOW},
    ),
    "outsized": Function(
        1,
        "none",
        "{Whose} earlier transactions in the last {outsized_days} d whose {of} was outsized.",
        "count of z > {outsized_z} in (t − {outsized_days} d, t], this one not included",
        _ZERO,
        sql_type="INTEGER",
        options=_SHRUNK | _OUTSIZED,
    ),
    "fraud_count": Function(
        0,
        "span",
        "{Whose} frauds in the last {over}, as far as labels were known by now.",
        "known frauds in (t − {over}, t), labels with known_at < t",
        "never null",
        sql_type="INTEGER",
        labels=True,
        where=False,
        version=2,
    ),
    "fraud_rate": Function(
        0,
        "span",
        "{Whose} fraud rate over {over}, as far as labels were known by now.",
        "(k + {weight}) / (n + {weight} / {prior}); k: known frauds in (t − {delay_days} d − {over}, t), labels with "
        f"known_at < t; n: {_RATED}",
        "never null",
        options=_DELAY | _PRIOR,
        labels=True,
        where=False,
        version=2,
    ),
    "labelled_count": Function(
        0,
        "span",
        "{Whose} transactions that the fraud rate over {over} is about.",
        _RATED,
        "never null",
        sql_type="INTEGER",
        options=_DELAY,
        labels=True,
        where=False,
        version=2,
    ),
    "days_since_fraud": Function(
        0,
        "none",
        "Days since {whose} latest fraud that was known by now.",
        "t − time of the latest fraud before t, in days, labels with known_at < t",
        "null without a known fraud",
        direction="low",
        labels=True,
        where=False,
    ),
}
"""Every function, by the name that ``how`` gives."""
