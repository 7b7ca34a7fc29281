"""``hour_share``: how often an entity's earlier transactions were at about the same time of day."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fraud_pipelines.plan.folding.function import Function, Layout, Option, Step
from fraud_pipelines.plan.types import DATE_ONLY, LOCAL_TIME, Aggregate

HALVED_AT: Final = 100
"""So many transactions in one hour, and all hours are halved: what an entity did long ago counts less."""

_HOURS_IN_ONE: Final = 8
_BITS: Final = 8
_HOUR: Final = 3_600_000_000


def _code() -> Callable[..., None]:
    import math

    from fraud_pipelines.plan.folding.loop import (
        NUMBER,
        OUT,
        SCALAR,
        SECOND,
        SOURCE,
        Floats,
        Ints,
        Now,
        Program,
        Rows,
        Scratch,
        compiled_step,
        counts,
        inlined,
    )

    @inlined
    def in_hour(scalars: Ints, scalar: int, hour: int) -> int:
        """How many of the earlier transactions were in that hour of the day."""
        return int((scalars[scalar + hour // _HOURS_IN_ONE] >> (_BITS * (hour % _HOURS_IN_ONE))) & 255)

    @compiled_step
    def share(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        scalars, scalar, weight = scratch.scalars, program.ops[o, SCALAR], program.numbers[program.ops[o, NUMBER]]
        local = rows.values[program.ops[o, SOURCE], row]
        if rows.values[program.ops[o, SECOND], row] != 1.0:
            hour = now.t // _HOUR % 24 if math.isnan(local) else int(local // _HOUR) % 24
            n = 0
            for each in range(24):
                n += in_hour(scalars, scalar, each)
            near = in_hour(scalars, scalar, (hour + 23) % 24) + in_hour(scalars, scalar, hour)
            near += in_hour(scalars, scalar, (hour + 1) % 24)
            if n > 0:
                out[program.ops[o, OUT], row] = (near + weight * 0.125) / (n + weight)
            if counts(program, o, rows, row):
                scalars[scalar + hour // _HOURS_IN_ONE] += 1 << (_BITS * (hour % _HOURS_IN_ONE))
                if in_hour(scalars, scalar, hour) == HALVED_AT:
                    for part in range(3):  # no hour's lowest bit may reach the hour before it
                        scalars[scalar + part] = (scalars[scalar + part] >> 1) & 0x7F7F7F7F7F7F7F7F

    return share


SHARE: Final = Step("hour_share", _code, when="apart")


def _layout(layout: Layout, each: Aggregate) -> None:
    cells = {
        "source": layout.read(LOCAL_TIME)["source"],
        "second": layout.read(DATE_ONLY)["source"],
        "scalar": layout.scalars(3, "hour_share", each),
    }
    layout.add_step(SHARE, each, cells, (each.options["weight"],))


def _hour(row: Mapping[str, Any]) -> int | None:
    if row.get(DATE_ONLY):
        return None
    moment = row.get(LOCAL_TIME) or row["timestamp"]
    return int(moment.hour)


def _reference(each: Aggregate, rows: Sequence[Mapping[str, Any]], counts: Sequence[bool], i: int) -> float | None:
    found = dict.fromkeys(range(24), 0)
    for row, counted in zip(rows[:i], counts[:i], strict=True):
        hour = _hour(row)
        if hour is not None and counted:
            found[hour] += 1
            if found[hour] == HALVED_AT:
                found = {each: count // 2 for each, count in found.items()}
    hour, n = _hour(rows[i]), sum(found.values())
    if hour is None or not n:
        return None
    near = sum(found[(hour + step) % 24] for step in (-1, 0, 1))
    return (near + each.options["weight"] * 3 / 24) / (n + each.options["weight"])


FUNCTIONS: Final[Mapping[str, Function]] = {
    "hour_share": Function(
        columns=0,
        over="none",
        description="Share of {whose} earlier transactions in this hour of the day, the one before or the one after.",
        formula="(k + {weight} × 3/24) / (n + {weight}); hours by the local time, else UTC; all counts halved when "
        f"one hour's is {HALVED_AT}",
        null_rule="null without an earlier transaction whose hour is known, and where the hour is unknown",
        gives="share of the earlier ones in this hour of the day, the one before and the one after, shrunk",
        options={"weight": Option(5, 0, 1_000)},
        direction="low",
        reads=(LOCAL_TIME, DATE_ONLY),
        layout=_layout,
        steps=(SHARE,),
        reference=_reference,
    ),
}
