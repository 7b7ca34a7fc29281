"""An entity's declaration as the fold reads it: what is kept, and the steps that each row runs through."""

import hashlib
import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.plan.folding.function import (
    CODES,
    MARKS,
    MATCHED,
    NUMBERS_KEPT,
    RECENT_CODES,
    ROWS,
    STATISTICS,
    TIMED,
    TIMED_CODES,
    TIMES,
    PlannedStep,
    Step,
)
from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.types import WITH_REFUNDS, Aggregate, EntityPlan

if TYPE_CHECKING:  # numba takes a second to import
    from fraud_pipelines.plan.folding.loop import Program

Ints = NDArray[np.int64]

FOLD_VERSION: Final = 1
"""Raised when the fold keeps something else of the same rows under the same declaration."""


def folded(entity: EntityPlan) -> tuple[Aggregate, ...]:
    """The aggregates that the fold computes, in the order of its output: all but those from labels."""
    return tuple(each for each in entity.aggregates if not FUNCTIONS[each.how].labels)


def from_labels(entity: EntityPlan) -> tuple[Aggregate, ...]:
    """The aggregates that are computed from labels."""
    return tuple(each for each in entity.aggregates if FUNCTIONS[each.how].labels)


@dataclass(frozen=True)
class Measured:
    """A column whose values are counted among all payments, or those for which a condition holds."""

    column: str
    where: str | None

    @property
    def name(self) -> str:
        """What it is called among the counts."""
        return self.column if self.where is None else f"{self.column} where {' '.join(self.where.split())}"

    @property
    def center(self) -> str:
        """The value of a row that holds the usual of its day."""
        return f"usual {self.name}"

    @property
    def upper(self) -> str:
        """The value of a row that holds the 95th percentile."""
        return f"upper {self.name}"


@dataclass(frozen=True)
class EntityProgram:
    """An entity's fold, compiled.

    Attributes:
        entity: the declaration.
        arrays: what the kernel reads.
        values: columns of numbers it needs, in the order of its rows.
        codes: columns of which it needs to know which values are equal.
        conditions: the SQL conditions of the aggregates that don't count every row.
        reach: how far back in time a kept row can matter; zero for no spans.
        forgets: whether a state older than ``reach`` says nothing any more.
        fingerprint: names what is kept; a state kept under another one can't be continued.
        tail_sources: what each tail holds, and whether it marks outsized values.
        scalar_uses: what the numbers beside the tails are for.
    """

    entity: EntityPlan
    arrays: "Program"
    values: tuple[str, ...]
    codes: tuple[str, ...]
    measured: tuple["Measured", ...]
    conditions: tuple[str, ...]
    reach: timedelta
    forgets: bool
    fingerprint: str
    tail_sources: tuple[tuple[object, bool], ...]
    scalar_uses: tuple[str, ...]

    @property
    def sees_refunds(self) -> bool:
        """Whether refunds are among its rows."""
        return any(each.sees_refunds for each in self.entity.aggregates)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns among ``values``: all but what is usual among all payments."""
        usual = {name for each in self.measured for name in (each.center, each.upper)}
        return tuple(name for name in self.values if name not in usual)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features in the order of the fold's output."""
        return tuple(each.name for each in folded(self.entity))


def programs(plan: Plan) -> tuple[EntityProgram, ...]:
    """A program for each pass of the fold, in order: see `passes`."""
    return tuple(program(each, plan) for each in passes(plan))


def passes(plan: Plan) -> tuple[EntityPlan, ...]:
    """Each entity of the plan with the aggregates that don't see refunds, followed by one with those that do.

    They keep histories of their own: no refund can change what is computed from payments alone, not by a bit.
    """
    found: list[EntityPlan] = []
    for entity in plan.entities:
        seeing = tuple(each for each in entity.aggregates if each.sees_refunds)
        found.append(replace(entity, aggregates=tuple(each for each in entity.aggregates if not each.sees_refunds)))
        if seeing:
            found.append(EntityPlan(entity.name + WITH_REFUNDS, entity.key, seeing))
    return tuple(found)


def program(entity: EntityPlan, plan: Plan) -> EntityProgram:
    """The entity's program."""
    never_null = {attribute.name for attribute in plan.attributes if attribute.required}
    return _Compiler(entity, never_null).compiled()


@dataclass
class _Tail:
    kind: int
    source: object
    mask: int
    keep: int = 0
    depth: int = 0
    from_: int = 0
    row: int = 0
    dropped: int = 0


@dataclass
class _Compiler:
    entity: EntityPlan
    never_null: Collection[str]
    values: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    measured: list["Measured"] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    tails: list[_Tail] = field(default_factory=list)
    steps: list[PlannedStep] = field(default_factory=list)
    kept: int = 0
    scalar_uses: list[tuple[str, object, str | None]] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    null_free: set[str] = field(default_factory=set)
    depths: dict[str, int] = field(default_factory=dict)

    def compiled(self) -> EntityProgram:
        aggregates = folded(self.entity)
        self.rows = {each.name: row for row, each in enumerate(aggregates)}
        self.null_free = set(self.never_null)
        for each in aggregates:
            self.depths[each.name] = 1 + max((self.depths.get(name, -1) for name in each.of), default=-1)
            if each.where is None and FUNCTIONS[each.how].never_null:
                self.null_free.add(each.name)
        # What shares the steps of another comes after it.
        for each in sorted(aggregates, key=lambda each: FUNCTIONS[each.how].turn):
            layout = FUNCTIONS[each.how].layout
            assert layout is not None
            layout(self, each)
        for planned in self.steps:
            if planned.step and planned.step.finish:
                planned.step.finish(self, planned)
        kept = [(tail.kind, tail.source, self._condition(tail.mask), tail.keep) for tail in self.tails]
        timed = [tail.keep for tail in self.tails if tail.kind >= TIMES]
        content = (FOLD_VERSION, self.entity.key, kept, self.scalar_uses)
        remembers = any(planned.step and planned.step.remembers for planned in self.steps)
        return EntityProgram(
            entity=self.entity,
            arrays=self._arrays(),
            values=tuple(self.values),
            codes=tuple(self.codes),
            measured=tuple(self.measured),
            conditions=tuple(self.conditions),
            reach=timedelta(microseconds=max(timed, default=0)),
            forgets=not (remembers or self.kept or any(tail.kind < TIMES and tail.keep for tail in self.tails)),
            fingerprint=hashlib.sha256(repr(content).encode()).hexdigest()[:12],
            tail_sources=tuple((tail.source, tail.kind == MARKS) for tail in self.tails),
            scalar_uses=tuple(use for use, *_ in self.scalar_uses),
        )

    # ---- what layouts ask for, see `fraud_pipelines.plan.folding.function.Layout`

    def mask(self, each: Aggregate) -> int:
        if each.where is None:
            return -1
        return _place(self.conditions, each.where)

    def complete(self, source: str | None, mask: int) -> bool:
        return mask < 0 and (source is None or source in self.null_free)

    def code(self, column: str) -> int:
        return _place(self.codes, column)

    def read(self, name: str | None) -> dict[str, int]:
        from fraud_pipelines.plan.folding import loop

        if name is None:
            return {"source": 0, "from": loop.FROM_ONE}
        if name in self.rows:
            return {"source": self.rows[name], "from": loop.FROM_OUT}
        return {"source": _place(self.values, name), "from": loop.FROM_VALUES}

    def population(self, each: Aggregate) -> int:
        [column] = each.of
        if column in self.rows or each.sees_refunds:
            return -1  # known only once rows are folded, or of rows that are no payments
        measured = Measured(column, each.where)
        if measured not in self.measured:
            self.measured.append(measured)
        first = _place(self.values, measured.center)
        _place(self.values, measured.upper)
        return first

    def scalars(self, count: int, use: str, each: Aggregate) -> int:
        return self._scalars(count, use, each.of, self.mask(each))

    def tail(self, kind: int, source: Any, mask: int, keep: int) -> int:
        all_rows = mask < 0 and (kind == MATCHED or source in self.null_free)
        kind = ROWS if kind in (MATCHED, NUMBERS_KEPT) and all_rows else kind
        for index, tail in enumerate(self.tails):
            if (tail.kind, tail.source, tail.mask) == (kind, source, mask):
                tail.keep = max(tail.keep, keep)
                return index
        tail = _Tail(kind, source, mask, keep, depth=1 + self.depths.get(source, -1) if isinstance(source, str) else 0)
        if kind in (CODES, TIMED_CODES):
            tail.row = self.code(source)
        elif kind not in (MARKS, RECENT_CODES):
            read = self.read(source)
            tail.row, tail.from_ = read["source"], read["from"]
        if kind == TIMED:
            tail.dropped = self._scalars(1, "dropped", source, mask)
        self.tails.append(tail)
        return len(self.tails) - 1

    def add_window(self, step: Step, tail: int, length: int, column: int, each: Aggregate) -> None:
        nothing = [-1] * STATISTICS
        for planned in self.steps:
            if planned.step is step and planned.tail == tail and planned.windows.get(length, nothing)[column] < 0:
                planned.windows.setdefault(length, nothing)[column] = self.rows[each.name]
                return
        nothing[column] = self.rows[each.name]
        cells = {"mask": self.tails[tail].mask, "source": self.tails[tail].row, "from": self.tails[tail].from_}
        self.steps.append(PlannedStep(step, tail, self.tails[tail].depth, {length: nothing}, cells))

    def add_step(self, step: Step, each: Aggregate, cells: dict[str, int], numbers: tuple[float, ...] = ()) -> None:
        cells = {"mask": self.mask(each), "out": self.rows[each.name], **cells}
        self.steps.append(PlannedStep(step, -1, self.depths[each.name], {}, cells, numbers))

    # ---- parts

    def _condition(self, mask: int) -> str | None:
        return None if mask < 0 else " ".join(self.conditions[mask].split())

    def _scalars(self, count: int, use: str, source: object, mask: int) -> int:
        first = self.kept
        self.kept += count
        self.scalar_uses.append((use, source, self._condition(mask)))
        return first

    def _ordered(self) -> list[PlannedStep]:
        """All steps in the order in which a row runs through them, those included that add it to tails."""
        ordered: list[PlannedStep] = []
        deepest = max((*(each.depth for each in self.steps), *(tail.depth for tail in self.tails)), default=0)
        for depth in range(deepest + 1):
            pushes = [
                PlannedStep(None, k, depth, {}, {"mask": tail.mask, "source": tail.row, "from": tail.from_})
                for k, tail in enumerate(self.tails)
                if tail.depth == depth and tail.kind not in (MARKS, RECENT_CODES)
            ]
            by_time: dict[str, list[PlannedStep]] = {"before": [], "push": pushes, "after": [], "apart": []}
            for each in self.steps:
                if each.depth == depth and each.step:
                    by_time[each.step.when].append(each)
            ordered += itertools.chain.from_iterable(by_time.values())
        return ordered

    def _arrays(self) -> "Program":
        from fraud_pipelines.plan.folding import dispatch, loop

        ordered = self._ordered()
        ops = np.full((len(ordered), loop.OP_COLUMNS), -1, dtype=np.int64)
        windows: list[int] = []
        window_rows: list[list[int]] = []
        numbers: list[float] = []
        columns = {
            "source": loop.SOURCE,
            "from": loop.FROM,
            "mask": loop.MASK,
            "out": loop.OUT,
            "scalar": loop.SCALAR,
            "second": loop.SECOND,
            "population": loop.POPULATION,
        }
        for op, planned in zip(ops, ordered, strict=True):
            op[loop.OP], op[loop.TAIL] = dispatch.number_of(planned.step), planned.tail
            op[loop.FROM] = loop.FROM_VALUES
            for name, value in planned.cells.items():
                op[columns[name]] = value
            op[loop.FIRST] = len(windows)
            for length in sorted(planned.windows):
                windows.append(length)
                window_rows.append(planned.windows[length])
            op[loop.END] = len(windows)
            op[loop.NUMBER] = len(numbers)
            numbers += planned.numbers
            op[loop.RANKS] = planned.step is not None and planned.step.ranks
            op[loop.TABLES] = planned.step is not None and planned.step.tables
        return loop.Program(
            ops=ops,
            windows=np.array(windows, dtype=np.int64),
            window_rows=np.array(window_rows, dtype=np.int64).reshape(-1, STATISTICS),
            numbers=np.array(numbers, dtype=np.float64),
            tails=np.array([(tail.kind, tail.keep, tail.dropped) for tail in self.tails], dtype=np.int64).reshape(
                -1, 3
            ),
            scalars=self.kept,
        )


def _place(names: list[str], name: str) -> int:
    """Position of ``name``, which is added if it is missing."""
    if name not in names:
        names.append(name)
    return names.index(name)


def all_columns(entities: Iterable[EntityProgram]) -> list[str]:
    """Every column that some fold reads besides the time, keys included, in the order of the alphabet."""
    return sorted({name for each in entities for name in (*each.entity.key, *each.columns, *each.codes)})
