"""How a model gets a column or a feature: the declared role, direction, daily flag and group against its type."""

from dataclasses import dataclass
from typing import Final, Protocol

from fraud_pipelines.plan.types import ColumnType, Direction, Modelled, Role

_TYPES: Final[dict[Role, frozenset[ColumnType]]] = {
    "numeric": frozenset({"number", "integer"}),
    "binary": frozenset({"boolean", "integer"}),
    "hash": frozenset({"text", "integer"}),
    "label": frozenset({"text", "integer"}),
}
OWN_GROUP: Final = "own"
"""The group of what is daily, belongs to no entity, and names no group."""
LABELS_GROUP: Final = "labels"
"""The group of what is daily, is computed from labels, and names no group."""

_BY_TYPE: Final[dict[ColumnType, Role]] = {"number": "numeric", "integer": "numeric", "boolean": "binary"}


class Declared(Protocol):
    """The part of a declaration that says how a model gets the value."""

    @property
    def role(self) -> str | None: ...
    @property
    def direction(self) -> Direction | None: ...
    @property
    def daily(self) -> bool: ...
    @property
    def group(self) -> str | None: ...


@dataclass
class UnfitRole(Exception):
    """A role, direction, daily flag or group can't be had; ``key`` is the one to change."""

    key: str
    message: str


def role_of_type(value_type: ColumnType) -> Role | None:
    """The role a value has by its type alone; text and timestamps have none."""
    return _BY_TYPE.get(value_type)


def modelled(
    declared: Declared, value_type: ColumnType, *, role: Role | None, direction: Direction, group: str = OWN_GROUP
) -> Modelled | None:
    """How a model gets a value, None where no model does.

    Args:
        declared: as it stands in the file.
        value_type: of the value.
        role, direction: what holds where the declaration says nothing.
        group: the same, of what enters the daily models; anything else is in a group only where it names one.

    Raises:
        UnfitRole: the declaration contradicts itself, or its role doesn't fit the type.
    """
    chosen: Role | None = role
    match declared.role:
        case None:
            if chosen is None and (declared.daily or declared.direction or declared.group):
                chosen = _BY_TYPE.get(value_type)
        case "none":
            chosen = None
        case "numeric" | "binary" | "hash" | "label" as chosen:
            pass
    if chosen is None:
        if declared.daily or declared.direction or declared.group:
            key = "daily" if declared.daily else "direction" if declared.direction else "group"
            raise UnfitRole(key, f"no model is given it: {_advice(declared.role, value_type)}")
        return None
    if value_type not in _TYPES[chosen]:
        raise UnfitRole(
            "role",
            f"the role {chosen} does not fit the type {value_type}; it fits {' and '.join(sorted(_TYPES[chosen]))}",
        )
    if declared.direction and chosen in ("hash", "label"):
        raise UnfitRole("direction", f"a {chosen} has no direction; leave the key out")
    in_group = declared.group or (group if declared.daily else "")
    return Modelled(chosen, declared.direction or direction, declared.daily, in_group)


def _advice(role: str | None, value_type: ColumnType) -> str:
    if role == "none":
        return "its role is none"
    if value_type == "text":
        return "text needs a role, hash or label"
    return f"a value of type {value_type} has no role"
