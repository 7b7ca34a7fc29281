"""``speed``: how fast an entity must have moved from its last place to this one."""

from collections.abc import Callable, Mapping
from typing import Final

from fraud_pipelines.plan.folding.function import NULL_AT_FIRST, Function, Layout, Step
from fraud_pipelines.plan.types import Aggregate

EARTH_KM: Final = 6371.0088
"""Mean radius of the earth (IUGG)."""


def _code() -> Callable[..., None]:
    import math

    from fraud_pipelines.plan.folding.loop import (
        OUT,
        SCALAR,
        SECOND,
        SOURCE,
        Floats,
        Now,
        Program,
        Rows,
        Scratch,
        compiled_step,
        counts,
        inlined,
    )

    @inlined
    def distance(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
        """Great-circle distance of two places in degrees, in km, by the haversine formula."""
        radians = math.pi / 180.0
        north = math.sin((other_latitude - latitude) * radians / 2.0)
        east = math.sin((other_longitude - longitude) * radians / 2.0)
        chord = north * north + math.cos(latitude * radians) * math.cos(other_latitude * radians) * (east * east)
        return 2.0 * EARTH_KM * math.asin(math.sqrt(min(chord, 1.0)))

    @compiled_step
    def speed(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        seen, places, scalar = scratch.scalars, scratch.scalar_floats, program.ops[o, SCALAR]
        latitude = rows.values[program.ops[o, SOURCE], row]
        longitude = rows.values[program.ops[o, SECOND], row]
        if seen[scalar] > 0 and now.t > seen[scalar + 1]:
            hours = (now.t - seen[scalar + 1]) / 3600e6
            kilometres = distance(places[scalar + 2], places[scalar + 3], latitude, longitude)
            if not math.isnan(kilometres):
                out[program.ops[o, OUT], row] = kilometres / hours
        if counts(program, o, rows, row):
            seen[scalar] = 1
            seen[scalar + 1] = now.t
            places[scalar + 2] = latitude
            places[scalar + 3] = longitude

    return speed


SPEED: Final = Step("speed", _code, when="apart")


def _layout(layout: Layout, each: Aggregate) -> None:
    source, second = (layout.read(column)["source"] for column in each.of)
    layout.add_step(SPEED, each, {"source": source, "second": second, "scalar": layout.scalars(4, "speed", each)})


FUNCTIONS: Final[Mapping[str, Function]] = {
    "speed": Function(
        columns=2,
        over="none",
        description="Speed at which {whose} previous transaction lies from this one, in km/h.",
        formula="great-circle distance / (t[i] − t[i − 1])",
        null_rule=f"{NULL_AT_FIRST}, where either place is unknown, and over no time",
        gives="km/h since the last",
        of="latitude, longitude",
        layout=_layout,
        steps=(SPEED,),
    ),
}
