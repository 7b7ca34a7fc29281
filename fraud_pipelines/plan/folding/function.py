"""What a module of `fraud_pipelines.plan.aggregates` declares: functions, and the steps that compute them.

numba is not imported here: a step's code is made when the kernel is loaded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.plan.types import Aggregate, ColumnType, Direction, Role

Over = Literal["none", "rows", "span", "either"]
"""What ``over`` may be: absent, a number of rows, a span of time, or one of the latter two."""

NUMBERS: Final[frozenset[ColumnType]] = frozenset({"number", "integer"})
VALUES: Final[frozenset[ColumnType]] = frozenset({"text", "number", "integer", "boolean"})

NEVER_NULL: Final = "never null"
NULL_AT_FIRST: Final = "null for the first transaction"

# Kinds of tails. A tail is what is kept of an entity's past rows: of the last so many, or of those within a span.
RECENT_CODES: Final = -1  # codes that a step keeps in its own order, the latest last
ROWS: Final = 0  # a number for each of the last rows, NaN for one that doesn't count
MATCHED: Final = 1  # a number for each of the last rows that count, NaN where it is null
NUMBERS_KEPT: Final = 2  # the last numbers of rows that count
CODES: Final = 3  # a code for each of the last rows, UNKNOWN for one that doesn't count
TIMES: Final = 4  # the times of rows that count, ascending
TIMED: Final = 5  # the same with a number each, rows where it is null left out
TIMED_CODES: Final = 6  # the same with a code
MARKS: Final = 7  # times that a step inserts by itself, ascending

# Columns of the output rows of a window.
COUNT: Final = 0
SUM: Final = 1
MEAN: Final = 2
STD: Final = 3
MIN: Final = 4
MAX: Final = 5
STATISTICS: Final = 6


@dataclass(frozen=True)
class Option:
    """A parameter of a function: its default and its bounds, both inclusive; ``whole`` ones are whole numbers."""

    default: float
    minimum: float
    maximum: float
    whole: bool = False


@dataclass(frozen=True, eq=False)
class Step:
    """What is done at each row, compiled into the kernel's loop.

    Attributes:
        name: unique among all steps.
        code: makes the function that numba compiles, with the arguments of `fraud_pipelines.plan.folding.loop.Code`.
        when: ``before`` the row is added to the tails, ``after`` it, or ``apart`` from tails.
        ranks: whether it needs a place for as many ranked numbers as its window is long.
        tables: whether it needs a table of codes for each window.
        remembers: whether it looks at the entity's latest row, however old that is.
        finish: called with its planned step once all tails are known.
    """

    name: str
    code: Callable[[], Callable[..., None]]
    when: Literal["before", "after", "apart"] = "after"
    ranks: bool = False
    tables: bool = False
    remembers: bool = False
    finish: "Callable[[Layout, PlannedStep], None] | None" = None


@dataclass
class PlannedStep:
    """A step of an entity's program.

    Attributes:
        step: None for what adds a row to a tail.
        tail: its tail, -1 for none.
        depth: steps run in this order: what is computed from other aggregates comes after these.
        windows: for each the output rows; by its length, rows or µs.
        cells: further columns of the program: ``mask``, ``source``, ``from``, ``out``, ``scalar``, ``second``,
            ``population``.
        numbers: parameters.
    """

    step: Step | None
    tail: int
    depth: int
    windows: dict[int, list[int]]
    cells: dict[str, int]
    numbers: tuple[float, ...] = ()


class Tail(Protocol):
    """A tail of the layout: ``mask`` is that of the rows it keeps, -1 for all."""

    kind: int
    source: object
    mask: int
    depth: int


class Layout(Protocol):
    """An entity's program while it is made. Aggregates that need the same tail share it.

    Attributes:
        rows: the output row of each aggregate, by name.
        tails, steps: those so far.
        depths: when each aggregate is computed, by name.
    """

    rows: dict[str, int]
    depths: dict[str, int]

    @property
    def tails(self) -> Sequence[Tail]:
        """The tails so far."""
        ...

    @property
    def steps(self) -> list[PlannedStep]:
        """The steps so far."""
        ...

    def mask(self, each: Aggregate) -> int:
        """Which rows the aggregate counts: a number for its condition, -1 for all."""
        ...

    def complete(self, source: str | None, mask: int) -> bool:
        """Whether every row counts and has the value."""
        ...

    def code(self, column: str) -> int:
        """The row of ``Rows.codes`` that says which values of the column are equal."""
        ...

    def read(self, name: str | None) -> dict[str, int]:
        """The cells ``source`` and ``from`` by which a step reads a column, an aggregate, or 1 for None."""
        ...

    def population(self, each: Aggregate) -> int:
        """The value of each row that tells what is usual among all payments, -1 where nothing does; the next is the
        upper figure.
        """
        ...

    def scalars(self, count: int, use: str, each: Aggregate) -> int:
        """Keep so many numbers of each entity, 0 at first; the position of the first.

        ``use`` names what they are for. States kept for another use are not continued.
        """
        ...

    def tail(self, kind: int, source: Any, mask: int, keep: int) -> int:
        """The tail of that kind, which keeps at least so many rows or µs."""
        ...

    def add_window(self, step: Step, tail: int, length: int, column: int, each: Aggregate) -> None:
        """Have the step fill the aggregate, as the given column of a window of that length over the tail."""
        ...

    def add_step(self, step: Step, each: Aggregate, cells: dict[str, int], numbers: tuple[float, ...] = ()) -> None:
        """Have the step fill the aggregate, without a tail."""
        ...


class LabelRows(Protocol):
    """Rows for which label features are computed, one number each; windows and delays are in µs."""

    instant: NDArray[np.int64]

    def frauds(self, window: int) -> NDArray[np.int64]:
        """Known frauds in (t − window, t)."""
        ...

    def labelled(self, delay: int, window: int) -> NDArray[np.int64]:
        """Transactions in (t − window, t − delay], and the labelled ones in (t − delay, t)."""
        ...

    def latest_fraud(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """When the latest known fraud happened, 0 without one, and whether there is one."""
        ...

    def last_outcomes(self, delay: int, reach: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Frauds among the last ``count`` known outcomes, and how many of these there are.

        Known is the outcome of a transaction in (t − reach, t − delay], and of a later one with a label known before t.
        Of transactions of one instant, the frauds count as the later ones.
        """
        ...

    def fraud_instants(self, window: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """When the first and the last of the known frauds in (t − window, t) happened, and whether there is one."""
        ...


Reference = Callable[[Aggregate, Sequence[Mapping[str, Any]], Sequence[bool], int], float | None]
"""A function in plain Python, for the contract test: the aggregate, an entity's rows in order, whether each counts, and
the position of the row that the value is for; from these to the value, or None."""


@dataclass(frozen=True, kw_only=True)
class Function:
    """What may be declared with one ``how``, and how it is computed: by ``layout`` and ``steps``, or from labels.

    Attributes:
        columns: how many columns ``of`` names.
        types: of which types these may be.
        reads: columns that it reads beside these, whatever is declared.
        over: which windows it takes.
        sql_type: the DuckDB type of its value.
        options: further parameters, by name.
        role, direction: how a model gets the value, unless the declaration says otherwise.
        where: whether rows can be chosen by a condition.
        description, formula, null_rule: words about the feature, see `fraud_pipelines.plan.words`.
        if_complete: the null rule where every row counts and has the value; by default the same.
        gives, of: words for the table in docs/declarations.md: what it gives, and of which columns.
        version: raised when the function gives another value for the same rows.
        layout: adds what is kept and done for an aggregate to an entity's program.
        steps: those that ``layout`` may add.
        turn: of an entity's aggregates those with a lower number are laid out first.
        never_null: whether every row of an entity has a value where all rows count.
        from_labels: the values by LabelRows, the aggregate, its window and its delay in µs. Such a feature comes after
            all others of every entity.
        for_ever: whether a known fraud counts however long ago it happened.
        reference: the function once more in plain Python, slow and obvious.
    """

    columns: int
    over: Over
    description: str
    formula: str
    null_rule: str
    gives: str
    of: str = ""
    types: frozenset[ColumnType] = NUMBERS
    reads: tuple[str, ...] = ()
    sql_type: str = "DOUBLE"
    options: Mapping[str, Option] = field(default_factory=dict)
    role: Role = "numeric"
    direction: Direction = "high"
    where: bool = True
    if_complete: str = ""
    version: int = 1
    layout: Callable[[Layout, Aggregate], None] | None = None
    steps: tuple[Step, ...] = ()
    turn: int = 0
    never_null: bool = False
    from_labels: Callable[[LabelRows, Aggregate, int, int], NDArray[Any]] | None = None
    for_ever: bool = False
    reference: Reference | None = None

    @property
    def labels(self) -> bool:
        """Whether it is computed from labels."""
        return self.from_labels is not None

    @property
    def complete_null_rule(self) -> str:
        """When the feature is null, if every row counts and has the value."""
        return self.if_complete or self.null_rule
