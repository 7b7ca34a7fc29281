"""Hard rules: allow and block lists and simple conditions beside the models, each with a day on which it ends."""

import difflib
import math
from collections.abc import Callable, Collection, Mapping
from datetime import date
from functools import cached_property
from typing import Annotated, Final, Literal, Self, cast

import polars as pl
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from fraud_pipelines.decisions.columns import columns_in
from fraud_pipelines.decisions.reasons import as_context
from fraud_pipelines.plan.types import ColumnType

RULE_REASON: Final = "rule:"
"""Begins the reason of a decision that a rule made; its name follows."""

Verdict = Literal["block", "approve", "review"]
VERDICTS: Final[tuple[Verdict, ...]] = ("block", "approve", "review")
"""In the order of precedence: see `HardRules`."""

Number = Annotated[float, Field(strict=True)]
Row = Mapping[str, object]
Test = Callable[[Row], bool]


class Condition(BaseModel):
    """What a column must be, all of what is set at once. A missing value meets only ``missing: true``.

    Written short, a value or a list of values stands for ``any_of``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    any_of: tuple[StrictBool | str | Number, ...] | None = Field(default=None, min_length=1)
    none_of: tuple[StrictBool | str | Number, ...] | None = Field(default=None, min_length=1)
    above: Number | None = None
    at_least: Number | None = None
    below: Number | None = None
    at_most: Number | None = None
    missing: bool | None = Field(default=None, strict=True)

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        asked = [name for name in Condition.model_fields if getattr(self, name) is not None]
        if not asked:
            raise ValueError(f"is empty; use a value, a list, or {', '.join(Condition.model_fields)}")
        if self.missing and len(asked) > 1:
            raise ValueError(f"a missing value can't be {asked[0]} anything: leave one of the two out")
        return self

    @property
    def bounds(self) -> dict[str, float]:
        """Those of ``above``, ``at_least``, ``below`` and ``at_most`` that are set."""
        named = {"above": self.above, "at_least": self.at_least, "below": self.below, "at_most": self.at_most}
        return {name: bound for name, bound in named.items() if bound is not None}

    @property
    def values(self) -> tuple[bool | str | float, ...]:
        """The values it names."""
        return (*(self.any_of or ()), *(self.none_of or ()))

    def check_fits(self, column: str, kind: ColumnType) -> None:
        """Raise ValueError where the condition can't be asked of ``column``."""
        if kind in ("text", "boolean") and self.bounds:
            noun = "text" if kind == "text" else "true or false"
            raise ValueError(f"{column} is {noun}, which {next(iter(self.bounds))} can't compare; list values instead")
        for value in self.values:
            if not _is_of(value, kind):
                hint = ": put it in quotes" if kind == "text" else ""
                shown = f"{value:g}" if isinstance(value, float) else str(value).lower()
                shown = repr(value) if isinstance(value, str) else shown
                raise ValueError(f"{column} is {_NOUNS[kind]}, and {shown} is not{hint}")

    @property
    def _is_text(self) -> bool:
        return any(isinstance(value, str) for value in self.values)

    def expression(self, column: str) -> pl.Expr:
        """True where the column of a frame meets the condition; never null."""
        if self._is_text:
            value = pl.col(column).cast(pl.String)
        elif self.missing is not None and not (self.values or self.bounds):
            value = pl.col(column)
            nan = pl.col(column).cast(pl.Float64, strict=False).is_nan().fill_null(value=False)
            return (value.is_null() | nan) if self.missing else ~(value.is_null() | nan)
        else:
            # NaN is no number: it would count as larger than any bound.
            value = pl.col(column).cast(pl.Float64).fill_nan(None)
        if self.missing:
            return value.is_null()
        met = value.is_not_null()
        if self.any_of is not None:
            met &= value.is_in(_alike(self.any_of))
        if self.none_of is not None:
            met &= ~value.is_in(_alike(self.none_of))
        for name, bound in self.bounds.items():
            met &= _EXPRESSIONS[name](value, bound)
        return met.fill_null(value=False)

    def test(self, column: str) -> Test:
        """The same question to a single row, as fast as plain Python is."""
        text = self._is_text
        missing = self.missing
        any_of = None if self.any_of is None else frozenset(self.any_of)
        none_of = frozenset(self.none_of or ())
        bounds = tuple((_COMPARISONS[name], bound) for name, bound in self.bounds.items())

        def holds(row: Row) -> bool:
            value = cast("str | float | None", row[column])
            if not text and isinstance(value, int | float):
                value = None if math.isnan(value) else float(value)
            if value is None or missing:
                return value is None and bool(missing)
            return (
                (any_of is None or value in any_of)
                and value not in none_of
                and all(compare(cast("float", value), bound) for compare, bound in bounds)
            )

        return holds


_NOUNS: Final[Mapping[ColumnType, str]] = {
    "text": "text",
    "boolean": "true or false",
    "number": "a number",
    "integer": "a number",
}


def _is_of(value: bool | str | float, kind: ColumnType) -> bool:
    if kind == "text":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    return isinstance(value, float) and not isinstance(value, bool)


def _alike(values: tuple[bool | str | float, ...]) -> list[str] | list[float]:
    """Values of one type, true as 1."""
    if any(isinstance(value, str) for value in values):
        return [str(value) for value in values]
    return [float(value) for value in values]


_EXPRESSIONS: Final[Mapping[str, Callable[[pl.Expr, float], pl.Expr]]] = {
    "above": lambda value, bound: value > bound,
    "at_least": lambda value, bound: value >= bound,
    "below": lambda value, bound: value < bound,
    "at_most": lambda value, bound: value <= bound,
}
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "above": lambda value, bound: value > bound,
    "at_least": lambda value, bound: value >= bound,
    "below": lambda value, bound: value < bound,
    "at_most": lambda value, bound: value <= bound,
}


_LATER_FIELDS: Final = ("unless", "shadow")
"""Of a rule, left out of its text where they say nothing."""


def _written_short(value: object) -> object:
    if isinstance(value, Mapping | Condition):
        return value
    return {"any_of": value if isinstance(value, list | tuple) else [value]}


def _a_day(value: object) -> object:
    """A day as it is written, and no number, which would be taken for seconds since 1970."""
    if isinstance(value, date) or value is None:
        return value
    try:
        return date.fromisoformat(cast("str", value))
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is no day; write it as 2026-12-31") from None


Day = Annotated[date, BeforeValidator(_a_day)]


class HardRule(BaseModel):
    """A decision that follows from a transaction's columns alone, whatever the models say.

    It applies to transactions of the days ``begins`` (from ever, if empty) to ``expires``, both included. The day
    of the transaction counts, not that of the run, so that a day run again comes out the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    decision: Verdict
    begins: Day | None = None
    expires: Day
    description: str = Field(default="", max_length=200, description="Shown to the reviewer beside the reasons.")
    when: dict[str, Annotated[Condition, BeforeValidator(_written_short)]] = Field(
        min_length=1, description="Column to condition; all of them must hold."
    )
    unless: dict[str, Annotated[Condition, BeforeValidator(_written_short)]] = Field(
        default_factory=dict, description="Column to condition; where any of them holds the rule is silent."
    )
    shadow: StrictBool = Field(
        default=False, description="Whether it decides in shadow alone: recorded and compared, without any effect."
    )

    @model_serializer(mode="wrap")
    def _as_before_there_were_later_fields(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """A rule without exceptions and not in shadow is written as ever, so that its version stays what it was."""
        written: dict[str, object] = write(self)
        return {name: value for name, value in written.items() if name not in _LATER_FIELDS or value}

    @model_validator(mode="after")
    def _can_be_asked(self, info: ValidationInfo) -> Self:
        columns = columns_in(info)
        asked = [(part, *each) for part in ("when", "unless") for each in getattr(self, part).items()]
        for part, column, condition in asked if columns is not None else ():
            assert columns is not None
            if column not in columns:
                near = difflib.get_close_matches(column, sorted(columns), n=1)
                raise ValueError(
                    f"{part}.{column} is no column of a transaction and no feature"
                    + (f"; did you mean {near[0]}?" if near else " (docs/features.md lists them)")
                )
            try:
                condition.check_fits(column, columns[column])
            except ValueError as error:
                raise ValueError(f"{part}.{column}: {error}") from error
        if self.begins and self.begins > self.expires:
            raise ValueError(f"expires {self.expires} lies before begins {self.begins}: the rule would never apply")
        return self

    @property
    def reason(self) -> str:
        """What a decision made by the rule has as its reason."""
        return RULE_REASON + self.name

    def condition(self) -> pl.Expr:
        """True for the rows that meet what the rule asks, whatever their day; never null."""
        met = pl.all_horizontal(*(each.expression(column) for column, each in self.when.items()))
        if not self.unless:
            return met
        return met & ~pl.any_horizontal(*(each.expression(column) for column, each in self.unless.items()))

    def expression(self) -> pl.Expr:
        """True for the rows that the rule applies to; never null."""
        applies = pl.col("event_date") <= self.expires
        if self.begins:
            applies &= pl.col("event_date") >= self.begins
        return applies & self.condition()

    def test(self) -> Test:
        """The same for a single row."""
        begins, expires = self.begins or date.min, self.expires
        tests = tuple(condition.test(column) for column, condition in self.when.items())
        exceptions = tuple(condition.test(column) for column, condition in self.unless.items())
        return lambda row: (
            begins <= cast("date", row["event_date"]) <= expires
            and all(test(row) for test in tests)
            and not any(test(row) for test in exceptions)
        )


class HardRules(BaseModel):
    """The rules of an installation. Of one kind, the first in the file that applies counts; between the kinds:

    - ``block`` outranks everything: what is known to be stolen goes no further, an allow list or not.
    - ``approve`` (an allow list) outranks the models and ``review``.
    - ``review`` is a floor: it sends to review what the models would approve, and lets their block stand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[HardRule, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [rule.name for rule in self.rules]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two rules are named {repeated[0]!r}")
        return self

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that the rules look at, ``event_date`` first; none without rules."""
        named = dict.fromkeys(column for rule in self.rules for column in (*rule.when, *rule.unless))
        return ("event_date", *named) if self.rules else ()

    @property
    def live(self) -> "HardRules":
        """Those that decide: all but the ones in shadow."""
        return self.going_live(())

    @property
    def in_shadow(self) -> tuple[HardRule, ...]:
        """Those that decide in shadow."""
        return tuple(rule for rule in self.rules if rule.shadow)

    def going_live(self, names: Collection[str] | None = None) -> "HardRules":
        """Those that decide where the ones in shadow of these ``names`` do too, in their places; None for all of
        them."""
        if not self.in_shadow:
            return self
        return HardRules(
            rules=tuple(
                rule.model_copy(update={"shadow": False})
                for rule in self.rules
                if not rule.shadow or names is None or rule.name in names
            )
        )

    def reason_codes(self, reason: str, codes: list[str]) -> list[str]:
        """``codes``; where a rule decided, what it says to the reviewer, and ``codes`` as context."""
        if not reason.startswith(RULE_REASON):
            return codes
        description = self._descriptions.get(reason) or f"the rule {reason.removeprefix(RULE_REASON)} applies"
        return [description, *as_context(codes)]

    @cached_property
    def _descriptions(self) -> Mapping[str, str]:
        return {rule.reason: rule.description for rule in self.rules if rule.description}

    def expressions(self) -> dict[Verdict, pl.Expr]:
        """For each kind, the reason of the first rule that applies, or null."""
        return {
            verdict: pl.coalesce(
                pl.lit(None, dtype=pl.String),
                *(
                    pl.when(rule.expression()).then(pl.lit(rule.reason))
                    for rule in self.rules
                    if rule.decision == verdict
                ),
            )
            for verdict in VERDICTS
        }

    def applying(self, row: Row) -> tuple[Verdict, str] | None:
        """The rule that counts for a single row, as its kind and reason; a ``review`` may yet yield to a block."""
        return next(((verdict, reason) for verdict, reason, test in self._tests if test(row)), None)

    @cached_property
    def _tests(self) -> tuple[tuple[Verdict, str, Test], ...]:
        ordered = sorted(self.rules, key=lambda rule: VERDICTS.index(rule.decision))
        return tuple((rule.decision, rule.reason, rule.test()) for rule in ordered)


def outranking(by_models: pl.Expr, block: pl.Expr, approve: pl.Expr, review: pl.Expr) -> pl.Expr:
    """The decision where a rule of each kind applies or doesn't, over what the models decide: see `HardRules`."""
    return (
        pl.when(block)
        .then(pl.lit("block"))
        .when(approve)
        .then(pl.lit("approve"))
        .when(review & (by_models != "block"))
        .then(pl.lit("review"))
        .otherwise(by_models)
    )


def beside(rule: HardRule, decision: pl.Expr, reason: pl.Expr) -> pl.Expr:
    """What becomes of a payment that the rule holds for, where the rule stands beside whatever decided.

    Args:
        decision: the one in force.
        reason: of that decision.
    """
    if rule.decision == "review":
        return pl.when(decision == "approve").then(pl.lit("review")).otherwise(decision)
    if rule.decision == "approve":
        # A rule that blocks outranks one that approves.
        blocked = (decision == "block") & reason.str.starts_with(RULE_REASON)
        return pl.when(blocked).then(decision).otherwise(pl.lit("approve"))
    return pl.lit("block")


NO_RULES: Final = HardRules()
