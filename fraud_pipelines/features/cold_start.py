"""Cold starts: an entity that is declared later than the first day was derived has no past, and its features say so.

Until the past an aggregate looks back on has been folded, its value would be too low. It is null instead, as is each
feature that reads it. A window of time is complete once that time has passed. What looks at rows, whenever they were,
is complete only once the entity has been rebuilt from the first stored transaction on.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Final

import polars as pl

from fraud_pipelines.features.feature_plan import FeaturePlan
from fraud_pipelines.features.program import EntityProgram, folded
from fraud_pipelines.features.tables import FEATURE_TABLE, history_table
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.types import Aggregate
from fraud_pipelines.storage.connection import Connection, overwrite, select, table_exists

TABLE: Final = "features.entity_starts"


@dataclass(frozen=True)
class Start:
    """Where the past of an entity begins, under one declaration.

    Attributes:
        first_day: the first day that was folded; None for all there were.
        rebuilt_through: while it is being folded from the first stored day on, the last day that this has reached.
    """

    first_day: date | None = None
    rebuilt_through: date | None = None


@dataclass(frozen=True)
class Starts:
    """The starts of all entities as they are once a day has been derived.

    Attributes:
        by_entity: by the name of the entity.
        cold: the entities that don't know all of the past of the day.
    """

    by_entity: Mapping[str, Start]
    cold: frozenset[str]


def starts(connection: Connection, compiled: FeaturePlan, day: date) -> Starts:
    """What becomes of each entity's start when ``day`` is derived."""
    stored = _stored(connection)
    derived = f"SELECT event_date FROM {FEATURE_TABLE}" if table_exists(connection, FEATURE_TABLE) else None
    before = last = None
    if derived:
        query = f"SELECT max(event_date) FILTER (event_date < $day), max(event_date) FROM ({derived})"
        before, last = select(connection, query, {"day": day}).row(0)
    by_entity, cold = {}, set()
    for program in compiled.programs:
        name = program.entity.name
        start = stored.get((name, program.fingerprint))
        if start is None:
            known = before is None or _has_rows(connection, program)
            start = Start() if known else Start(first_day=day)
            if before is None and last is not None and last > day:
                start = Start(rebuilt_through=day)
        elif start.rebuilt_through is not None:
            start = _continued(start, day, before, last)
        elif start.first_day is not None and day < start.first_day and before is None:
            start = replace(start, rebuilt_through=day)
        by_entity[name] = start
        if not _is_complete(start, day):
            cold.add(name)
    return Starts(by_entity, frozenset(cold))


def _continued(start: Start, day: date, before: date | None, last: date | None) -> Start:
    """A rebuild that is under way, with one more day."""
    through = start.rebuilt_through
    assert through is not None
    if day > through and before is not None and before > through:  # days between were left out
        return replace(start, first_day=start.first_day if start.first_day and start.first_day <= day else day)
    through = max(day, through)
    return Start() if last is None or through >= last else replace(start, rebuilt_through=through)


def _is_complete(start: Start, day: date) -> bool:
    if start.rebuilt_through is not None and day <= start.rebuilt_through:
        return True
    return start.first_day is None and start.rebuilt_through is None


def write_starts(connection: Connection, compiled: FeaturePlan, found: Starts) -> None:
    """Keep the starts, in the transaction that stores the day."""
    stored = _stored(connection)
    for program in compiled.programs:
        key, start = (program.entity.name, program.fingerprint), found.by_entity[program.entity.name]
        if stored.get(key) != start:
            row = dict(zip(("entity", "declaration"), key, strict=True)) | asdict(start)
            schema = select(connection, f"SELECT * FROM {TABLE} LIMIT 0").schema
            overwrite(connection, TABLE, pl.DataFrame([row], schema=schema), entity=key[0], declaration=key[1])


def incomplete(compiled: FeaturePlan, found: Starts) -> dict[str, date | None]:
    """The features that don't know all of the past they look back on → the first day on which they will.

    None: only a rebuild completes it.
    """
    ready: dict[str, date | None] = {}
    for program in compiled.programs:
        if program.entity.name not in found.cold:
            continue
        first = found.by_entity[program.entity.name].first_day
        reaches: dict[str, timedelta | None] = {}
        for each in folded(program.entity):
            reach = reaches[each.name] = _reach(each, reaches)
            ready[each.name] = None if reach is None or first is None else first + _whole_days(reach)
    return _with_readers(compiled.plan, ready)


def _with_readers(plan: Plan, ready: dict[str, date | None]) -> dict[str, date | None]:
    """``ready`` with the expressions that read any of these features; they are in the order in which they are read."""
    for expression in plan.expressions:
        read = [ready[name] for name in expression.reads if name in ready]
        if read:
            days = [day for day in read if day is not None]
            ready[expression.name] = max(days) if len(days) == len(read) else None
    return ready


def _reach(each: Aggregate, reaches: Mapping[str, timedelta | None]) -> timedelta | None:
    """How far back an aggregate looks; None where no span of time bounds it."""
    if not isinstance(each.over, timedelta):
        return None
    reach = each.over
    for name in each.of:
        if name in reaches:
            further = reaches[name]
            if further is None:
                return None
            reach += further
    return reach


def _whole_days(span: timedelta) -> timedelta:
    return timedelta(days=-(-span // timedelta(days=1)))


def _stored(connection: Connection) -> dict[tuple[str, str], Start]:
    rows = select(connection, f"SELECT entity, declaration, first_day, rebuilt_through FROM {TABLE}").rows()
    return {(entity, declaration): Start(first, through) for entity, declaration, first, through in rows}


def _has_rows(connection: Connection, program: EntityProgram) -> bool:
    """Whether a history was kept under this declaration before starts were."""
    table = history_table(program.entity)
    if not table_exists(connection, table):
        return False
    query = f"SELECT 1 FROM {table} WHERE declaration = ? LIMIT 1"
    return not select(connection, query, [program.fingerprint]).is_empty()
