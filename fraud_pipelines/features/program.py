"""An entity's declaration as the fold reads it: what is kept, and the steps that each row runs through."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.types import Aggregate, EntityPlan

if TYPE_CHECKING:  # numba takes a second to import
    from fraud_pipelines.features.kernel import Program

Ints = NDArray[np.int64]

FOLD_VERSION: Final = 1
"""Raised when the fold keeps something else of the same rows under the same declaration."""

_STATISTICS: Final = ("count", "sum", "mean", "std", "min", "max")  # in the order of the kernel's window_rows
_PROFILE: Final = ("z", "rz", "log_ratio", "max_ratio", "outsized")
_NEVER_NULL: Final = frozenset({"count", "sum", "distinct", "outsized"})


def folded(entity: EntityPlan) -> tuple[Aggregate, ...]:
    """The aggregates that the fold computes, in the order of its output: all but those from labels."""
    return tuple(each for each in entity.aggregates if not FUNCTIONS[each.how].labels)


def from_labels(entity: EntityPlan) -> tuple[Aggregate, ...]:
    """The aggregates that are computed from labels."""
    return tuple(each for each in entity.aggregates if FUNCTIONS[each.how].labels)


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
    conditions: tuple[str, ...]
    reach: timedelta
    forgets: bool
    fingerprint: str
    tail_sources: tuple[tuple[object, bool], ...]
    scalar_uses: tuple[str, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features in the order of the fold's output."""
        return tuple(each.name for each in folded(self.entity))


def programs(plan: Plan) -> tuple[EntityProgram, ...]:
    """A program for each entity of the plan, in order."""
    return tuple(program(entity, plan) for entity in plan.entities)


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
class _Group:
    """An op of several windows: for each its length and its output rows."""

    op: int
    tail: int
    depth: int
    windows: dict[int, list[int]]
    step: dict[str, int]
    numbers: tuple[float, ...] = ()


@dataclass
class _Compiler:
    entity: EntityPlan
    never_null: Collection[str]
    values: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    tails: list[_Tail] = field(default_factory=list)
    groups: list[_Group] = field(default_factory=list)
    scalars: int = 0
    scalar_uses: list[tuple[str, object, str | None]] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    null_free: set[str] = field(default_factory=set)
    depths: dict[str, int] = field(default_factory=dict)

    def compiled(self) -> EntityProgram:
        from fraud_pipelines.features import kernel

        aggregates = folded(self.entity)
        self.rows = {each.name: row for row, each in enumerate(aggregates)}
        self.null_free = set(self.never_null)
        # What shares the steps of another comes after it.
        rank = {"outsized": 0, "z": 1, "rz": 1, "log_ratio": 2, "max_ratio": 2}
        profiles = sorted((each for each in aggregates if each.how in _PROFILE), key=lambda each: rank[each.how])
        for each in aggregates:
            self.depths[each.name] = 1 + max((self.depths.get(name, -1) for name in each.of), default=-1)
            if each.where is None and each.how in _NEVER_NULL:
                self.null_free.add(each.name)
        for each in (*(each for each in aggregates if each.how not in _PROFILE), *profiles):
            getattr(self, f"_{_FAMILY[each.how]}")(each)
        self._find_times_before()
        kept = [(tail.kind, tail.source, self._condition(tail.mask), tail.keep) for tail in self.tails]
        timed = [tail.keep for tail in self.tails if tail.kind >= kernel.TIMES]
        content = (FOLD_VERSION, self.entity.key, kept, self.scalar_uses)
        since = any(group.op == kernel.SINCE_LAST for group in self.groups)
        return EntityProgram(
            entity=self.entity,
            arrays=self._arrays(),
            values=tuple(self.values),
            codes=tuple(self.codes),
            conditions=tuple(self.conditions),
            reach=timedelta(microseconds=max(timed, default=0)),
            forgets=not (since or self.scalars or any(tail.kind < kernel.TIMES and tail.keep for tail in self.tails)),
            fingerprint=hashlib.sha256(repr(content).encode()).hexdigest()[:12],
            tail_sources=tuple((tail.source, tail.kind == kernel.MARKS) for tail in self.tails),
            scalar_uses=tuple(use for use, *_ in self.scalar_uses),
        )

    # ---- families of functions

    def _statistics(self, each: Aggregate) -> None:
        from fraud_pipelines.features import kernel

        mask = self._mask(each)
        column = _STATISTICS.index(each.how)
        if isinstance(each.over, timedelta):
            length = microseconds(each.over)
            if each.how == "count":
                tail = self._tail(kernel.TIMES, None, mask, length)
                self._window(kernel.SPAN_COUNT, tail, length, column, each)
            else:
                tail = self._tail(kernel.TIMED, each.of[0], mask, length)
                self._window(kernel.SPAN_STATISTICS, tail, length, column, each)
            return
        rows = _rows(each)
        source = each.of[0] if each.of else None
        tail = self._tail(kernel.ROWS, source, mask, rows - 1)
        dense = mask < 0 and (source is None or source in self.null_free)
        self._window(kernel.ROLL if dense else kernel.ROLL_SPARSE, tail, rows, column, each)

    def _lag(self, each: Aggregate) -> None:
        from fraud_pipelines.features import kernel

        mask = self._mask(each)
        tail = self._tail(kernel.MATCHED, each.of[0], mask, _rows(each))
        self._window(kernel.LAG, tail, _rows(each), 0, each)

    def _distinct(self, each: Aggregate) -> None:
        from fraud_pipelines.features import kernel

        mask = self._mask(each)
        if isinstance(each.over, timedelta):
            length = microseconds(each.over)
            tail = self._tail(kernel.TIMED_CODES, each.of[0], mask, length)
            self._window(kernel.DISTINCT_SPAN, tail, length, 0, each)
        else:
            tail = self._tail(kernel.CODES, each.of[0], mask, _rows(each) - 1)
            self._window(kernel.DISTINCT_ROWS, tail, _rows(each), 0, each)

    def _changed(self, each: Aggregate) -> None:
        from fraud_pipelines.features import kernel

        step = {"source": self._code(each.of[0]), "scalar": self._scalars(2, "changed", each)}
        self._step(kernel.CHANGED, each, step)

    def _since_last(self, each: Aggregate) -> None:
        from fraud_pipelines.features import kernel

        mask = self._mask(each)
        cell = "out" if each.how == "minutes_since_last" else "second"
        for group in self.groups:
            if group.op == kernel.SINCE_LAST and group.step["mask"] == mask and group.step[cell] < 0:
                group.step[cell] = self.rows[each.name]
                return
        scalar = self._scalars(2, "since_last", each) if mask >= 0 else -1
        step = {"mask": mask, "scalar": scalar, "out": -1, "second": -1}
        self.groups.append(_Group(kernel.SINCE_LAST, -1, 0, {}, step | {cell: self.rows[each.name]}))

    def _since_first(self, each: Aggregate) -> None:
        from fraud_pipelines.features import kernel

        self._step(kernel.SINCE_FIRST, each, {"scalar": self._scalars(2, "since_first", each)})

    def _ratio(self, each: Aggregate) -> None:
        from fraud_pipelines.features import kernel

        self._step(kernel.RATIO, each, self._read(each.of[0]) | {"scalar": self._scalars(2, "ratio", each)})

    def _speed(self, each: Aggregate) -> None:
        from fraud_pipelines.features import kernel

        source, second = (self._read(column)["source"] for column in each.of)
        step = {"source": source, "second": second, "scalar": self._scalars(4, "speed", each)}
        self._step(kernel.SPEED, each, step)

    def _profile(self, each: Aggregate) -> None:
        from fraud_pipelines.features import kernel

        mask, options = self._mask(each), each.options
        window = int(options["window"])
        tail = self._tail(kernel.VALUES, each.of[0], mask, window)
        shrunk = (options.get("weight"), options.get("share"))
        mark = (options.get("outsized_z"), options.get("outsized_days"))
        cell = _PROFILE.index(each.how)
        for group in self.groups:
            same = group.op == kernel.PROFILE and group.tail == tail and window in group.windows
            if not same or group.windows[window][cell] >= 0 or each.how == "outsized":
                continue
            if shrunk == (None, None) or shrunk == group.numbers[:2]:
                group.windows[window][cell] = self.rows[each.name]
                return
        marks = -1
        if each.how == "outsized":
            source: tuple[object, ...] = (each.of[0], window, *shrunk, *mark)
            while (source, mask) in [(tail.source, tail.mask) for tail in self.tails]:
                source = (*source, "again")  # declared twice: each op adds to marks of its own
            marks = self._tail(kernel.MARKS, source, mask, microseconds(timedelta(days=mark[1] or 0)))
        cells = [-1] * len(_STATISTICS)
        cells[cell] = self.rows[each.name]
        step = self._read(each.of[0]) | {"mask": mask, "second": marks}
        numbers = (5.0 if shrunk[0] is None else shrunk[0], 0.5 if shrunk[1] is None else shrunk[1], mark[0] or 0.0)
        self.groups.append(_Group(kernel.PROFILE, tail, self.tails[tail].depth, {window: cells}, step, numbers))

    # ---- parts

    def _mask(self, each: Aggregate) -> int:
        if each.where is None:
            return -1
        return _place(self.conditions, each.where)

    def _condition(self, mask: int) -> str | None:
        return None if mask < 0 else " ".join(self.conditions[mask].split())

    def _code(self, column: str) -> int:
        return _place(self.codes, column)

    def _read(self, name: str | None) -> dict[str, int]:
        from fraud_pipelines.features import kernel

        if name is None:
            return {"source": 0, "from": kernel.FROM_ONE}
        if name in self.rows:
            return {"source": self.rows[name], "from": kernel.FROM_OUT}
        return {"source": _place(self.values, name), "from": kernel.FROM_VALUES}

    def _scalars(self, count: int, use: str, each: Aggregate) -> int:
        first = self.scalars
        self.scalars += count
        self.scalar_uses.append((use, each.of, self._condition(self._mask(each))))
        return first

    def _tail(self, kind: int, source: Any, mask: int, keep: int) -> int:
        """The tail of that kind, which keeps at least so many rows or µs; one that holds the same is shared."""
        from fraud_pipelines.features import kernel

        all_rows = mask < 0 and (kind == kernel.MATCHED or source in self.null_free)
        kind = kernel.ROWS if kind in (kernel.MATCHED, kernel.VALUES) and all_rows else kind
        for index, tail in enumerate(self.tails):
            if (tail.kind, tail.source, tail.mask) == (kind, source, mask):
                tail.keep = max(tail.keep, keep)
                return index
        tail = _Tail(kind, source, mask, keep, depth=1 + self.depths.get(source, -1) if isinstance(source, str) else 0)
        if kind in (kernel.CODES, kernel.TIMED_CODES):
            tail.row = self._code(source)
        elif kind != kernel.MARKS:
            read = self._read(source)
            tail.row, tail.from_ = read["source"], read["from"]
        if kind == kernel.TIMED:
            tail.dropped = self.scalars
            self.scalars += 1
            self.scalar_uses.append(("dropped", source, self._condition(mask)))
        self.tails.append(tail)
        return len(self.tails) - 1

    def _window(self, op: int, tail: int, length: int, cell: int, each: Aggregate) -> None:
        for group in self.groups:
            if group.op == op and group.tail == tail and group.windows.get(length, [-1] * 6)[cell] < 0:
                group.windows.setdefault(length, [-1] * 6)[cell] = self.rows[each.name]
                return
        cells = [-1] * len(_STATISTICS)
        cells[cell] = self.rows[each.name]
        step = {"mask": self.tails[tail].mask, "source": self.tails[tail].row, "from": self.tails[tail].from_}
        self.groups.append(_Group(op, tail, self.tails[tail].depth, {length: cells}, step))

    def _step(self, op: int, each: Aggregate, step: dict[str, int]) -> None:
        step = {"mask": self._mask(each), "out": self.rows[each.name], **step}
        self.groups.append(_Group(op, -1, self.depths[each.name], {}, step))

    def _find_times_before(self) -> None:
        """A late row's previous one is looked up among the times that are kept for counts, if there are any."""
        from fraud_pipelines.features import kernel

        for group in self.groups:
            if group.op == kernel.SINCE_LAST:
                mask = group.step["mask"]
                times = [k for k, tail in enumerate(self.tails) if (tail.kind, tail.mask) == (kernel.TIMES, mask)]
                group.tail = times[0] if times else -1

    def _arrays(self) -> "Program":
        from fraud_pipelines.features import kernel

        steps = []
        before_push = {kernel.LAG, kernel.PROFILE}
        apart = {kernel.CHANGED, kernel.SINCE_LAST, kernel.SINCE_FIRST, kernel.RATIO, kernel.SPEED}
        deepest = max((*(group.depth for group in self.groups), *(tail.depth for tail in self.tails)), default=0)
        for depth in range(deepest + 1):
            groups = [group for group in self.groups if group.depth == depth]
            steps += [group for group in groups if group.op in before_push]
            steps += [
                _Group(kernel.PUSH, k, depth, {}, {"mask": tail.mask, "source": tail.row, "from": tail.from_})
                for k, tail in enumerate(self.tails)
                if tail.depth == depth and tail.kind != kernel.MARKS
            ]
            steps += [group for group in groups if group.op not in before_push | apart]
            steps += [group for group in groups if group.op in apart]
        ops = np.full((len(steps), kernel.OP_COLUMNS), -1, dtype=np.int64)
        windows: list[int] = []
        window_rows: list[list[int]] = []
        numbers: list[float] = []
        columns = {
            "source": kernel.SOURCE,
            "from": kernel.FROM,
            "mask": kernel.MASK,
            "out": kernel.OUT,
            "scalar": kernel.SCALAR,
            "second": kernel.SECOND,
        }
        for op, step in zip(ops, steps, strict=True):
            op[kernel.OP], op[kernel.TAIL] = step.op, step.tail
            op[kernel.FROM] = kernel.FROM_VALUES
            for name, value in step.step.items():
                op[columns[name]] = value
            op[kernel.FIRST] = len(windows)
            for length in sorted(step.windows):
                windows.append(length)
                window_rows.append(step.windows[length])
            op[kernel.END] = len(windows)
            if step.op == kernel.PROFILE:
                op[kernel.OUT] = op[kernel.FIRST]
                op[kernel.NUMBER] = len(numbers)
                numbers += step.numbers
        return kernel.Program(
            ops=ops,
            windows=np.array(windows, dtype=np.int64),
            window_rows=np.array(window_rows, dtype=np.int64).reshape(-1, kernel.STATISTICS),
            numbers=np.array(numbers, dtype=np.float64),
            tails=np.array([(tail.kind, tail.keep, tail.dropped) for tail in self.tails], dtype=np.int64).reshape(
                -1, 3
            ),
            scalars=self.scalars,
        )


_FAMILY: Final = {
    **dict.fromkeys(_STATISTICS, "statistics"),
    **dict.fromkeys(_PROFILE, "profile"),
    "lag": "lag",
    "distinct": "distinct",
    "changed": "changed",
    "minutes_since_last": "since_last",
    "days_since_last": "since_last",
    "days_since_first": "since_first",
    "ratio_to_mean": "ratio",
    "speed": "speed",
}


def _place(names: list[str], name: str) -> int:
    """Position of ``name``, which is added if it is missing."""
    if name not in names:
        names.append(name)
    return names.index(name)


def _rows(each: Aggregate) -> int:
    assert isinstance(each.over, int)
    return each.over


def microseconds(span: timedelta) -> int:
    """Whole microseconds, the unit of every timestamp here."""
    return span // timedelta(microseconds=1)


def all_columns(entities: Iterable[EntityProgram]) -> list[str]:
    """Every column that some fold reads besides the time, keys included, in the order of the alphabet."""
    return sorted({name for each in entities for name in (*each.entity.key, *each.values, *each.codes)})
