"""SQL expressions compiled for single rows: DuckDB's parse tree turned into plain functions of a row.

A query takes DuckDB milliseconds, whatever is in it. What is written here gives DuckDB's values to the bit; what is not
certain to do so is not compiled, and DuckDB is asked.
"""

import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import duckdb

from fraud_pipelines.plan.expressions import WHOLE

Row = Mapping[str, Any]
Value = Callable[[Row], Any]

_LEAST, _MOST = -(2**63), 2**63 - 1
_BITS: Final = {"TINYINT": 7, "SMALLINT": 15, "INTEGER": 31, "BIGINT": 63}
_COMPARED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "COMPARE_EQUAL": lambda a, b: a == b,
    "COMPARE_NOTEQUAL": lambda a, b: a != b,
    "COMPARE_LESSTHAN": lambda a, b: a < b,
    "COMPARE_GREATERTHAN": lambda a, b: a > b,
    "COMPARE_LESSTHANOREQUALTO": lambda a, b: a <= b,
    "COMPARE_GREATERTHANOREQUALTO": lambda a, b: a >= b,
}
_CALCULATED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}
_PARTS: Final[Mapping[str, Callable[[datetime], int]]] = {
    "year": lambda t: t.year,
    "month": lambda t: t.month,
    "day": lambda t: t.day,
    "dayofmonth": lambda t: t.day,
    "hour": lambda t: t.hour,
    "minute": lambda t: t.minute,
    "isodow": lambda t: t.isoweekday(),
    "dayofweek": lambda t: t.isoweekday() % 7,
    "weekday": lambda t: t.isoweekday() % 7,
}

# The types of values here: DuckDB's DOUBLE, BIGINT, BOOLEAN, VARCHAR and TIMESTAMP; SMALL, a narrower whole number;
# and of constants INTEGER, DECIMAL and NULL, which take the type of what they meet.
_NUMBERS: Final = frozenset({"DOUBLE", "BIGINT", "SMALL", "INTEGER", "DECIMAL"})


class Unclear(ArithmeticError):
    """A row for which DuckDB has to be asked."""


class Failed(ArithmeticError):
    """A row on which the expression fails in DuckDB, too."""


class _Unsupported(Exception):
    """An expression, or a part of one, that isn't compiled."""


def compiled(sql: str, sql_type: str, types: Mapping[str, str]) -> Value | None:
    """The expression's value as a function of a row of Python values; None where it isn't compiled.

    Args:
        sql_type: the DuckDB type that the value is cast to.
        types: DuckDB types of the columns.

    The function raises `Failed` or `Unclear`.
    """
    found = duckdb.connect(":memory:").execute("SELECT json_serialize_sql(?)", [f"SELECT ({sql}\n)"]).fetchall()
    (node,) = json.loads(found[0][0])["statements"][0]["node"]["select_list"]
    try:
        value, kind = _Compiler(types).value(node)
        return _cast(value, kind, sql_type)[0]
    except _Unsupported:
        return None


class _Compiler:
    def __init__(self, types: Mapping[str, str]) -> None:
        self._types = types

    def value(self, node: Mapping[str, Any]) -> tuple[Value, str]:
        """The function of a node, and the type of what it gives."""
        method = getattr(self, f"_{node['class'].lower()}", None)
        if method is None:
            raise _Unsupported
        found: tuple[Value, str] = method(node)
        return found

    def _column_ref(self, node: Mapping[str, Any]) -> tuple[Value, str]:
        (name,) = node["column_names"]
        name, kind = name.lower(), self._types[name.lower()]
        if kind in WHOLE:
            return (lambda row: row[name]), "BIGINT"
        if kind not in ("DOUBLE", "BOOLEAN", "VARCHAR", "TIMESTAMP"):
            raise _Unsupported
        return (lambda row: row[name]), kind

    def _constant(self, node: Mapping[str, Any]) -> tuple[Value, str]:
        literal = node["literal"]
        kind, text = literal["kind"], literal.get("text", "")
        if kind == "INTEGER" and abs(int(text)) < 2**31:
            constant: Any = int(text)
        elif kind == "NUMERIC" and text.replace(".", "", 1).isdigit() and len(text) <= 16:
            kind, constant = "DECIMAL", float(text)
        elif kind == "BOOLEAN":
            constant = text == "true"
        elif kind == "STRING":
            kind, constant = "VARCHAR", text
        elif kind == "NULL_LITERAL":
            kind, constant = "NULL", None
        else:
            raise _Unsupported
        return (lambda _: constant), kind

    def _comparison(self, node: Mapping[str, Any]) -> tuple[Value, str]:
        function = _COMPARED.get(node["type"])
        if function is None:
            raise _Unsupported
        return self._compared(function, self.value(node["left"]), self.value(node["right"]))

    def _compared(
        self, function: Callable[[Any, Any], bool], left: tuple[Value, str], right: tuple[Value, str]
    ) -> tuple[Value, str]:
        (one, other), kind = _alike(left, right)

        def compare(row: Row) -> bool | None:
            a, b = one(row), other(row)
            if a is None or b is None:
                return None
            if kind == "DOUBLE" and (a != a or b != b):  # noqa: PLR0124
                raise Unclear
            return function(a, b)

        return compare, "BOOLEAN"

    def _between(self, node: Mapping[str, Any]) -> tuple[Value, str]:
        if node["type"] != "COMPARE_BETWEEN":
            raise _Unsupported
        value = self.value(node["input"])
        low = self._compared(_COMPARED["COMPARE_GREATERTHANOREQUALTO"], value, self.value(node["lower"]))
        high = self._compared(_COMPARED["COMPARE_LESSTHANOREQUALTO"], value, self.value(node["upper"]))
        if _alike(value, self.value(node["lower"]))[1] != _alike(value, self.value(node["upper"]))[1]:
            raise _Unsupported
        return _joined([low[0], high[0]], decides=False), "BOOLEAN"

    def _conjunction(self, node: Mapping[str, Any]) -> tuple[Value, str]:
        parts = [_boolean(self.value(child)) for child in node["children"]]
        return _joined(parts, decides=node["type"] == "CONJUNCTION_OR"), "BOOLEAN"

    def _operator(self, node: Mapping[str, Any]) -> tuple[Value, str]:
        parts, what = [self.value(child) for child in node["children"]], node["type"]
        if what == "OPERATOR_NOT":
            value = _boolean(parts[0])
            return (lambda row: None if (found := value(row)) is None else not found), "BOOLEAN"
        if what == "OPERATOR_IS_NULL":
            return (lambda row: parts[0][0](row) is None), "BOOLEAN"
        if what == "OPERATOR_IS_NOT_NULL":
            return (lambda row: parts[0][0](row) is not None), "BOOLEAN"
        if what == "OPERATOR_COALESCE":
            values, kind = _all_alike(parts)
            return (lambda row: next((found for value in values if (found := value(row)) is not None), None)), kind
        if what in ("COMPARE_IN", "COMPARE_NOT_IN"):
            _all_alike(parts)
            equal = [self._compared(_COMPARED["COMPARE_EQUAL"], parts[0], part)[0] for part in parts[1:]]
            inside = _joined(equal, decides=True)
            if what == "COMPARE_IN":
                return inside, "BOOLEAN"
            return (lambda row: None if (found := inside(row)) is None else not found), "BOOLEAN"
        raise _Unsupported

    def _case(self, node: Mapping[str, Any]) -> tuple[Value, str]:
        whens = [_boolean(self.value(check["when_expr"])) for check in node["case_checks"]]
        thens = [self.value(check["then_expr"]) for check in node["case_checks"]]
        values, kind = _all_alike([*thens, self.value(node["else_expr"])])

        def choose(row: Row) -> Any:
            for when, value in zip(whens, values, strict=False):
                if when(row):
                    return value(row)
            return values[-1](row)

        return choose, kind

    def _cast(self, node: Mapping[str, Any]) -> tuple[Value, str]:
        if node.get("try_cast"):
            raise _Unsupported
        kind = node["type_expr"]["type_name"].upper()
        aliases = {"INT": "INTEGER", "INT1": "TINYINT", "INT2": "SMALLINT", "INT4": "INTEGER", "INT8": "BIGINT"}
        return _cast(*self.value(node["child"]), aliases.get(kind, kind))

    def _function(self, node: Mapping[str, Any]) -> tuple[Value, str]:
        name = node["function_name"]
        parts = [self.value(argument["expression"]) for argument in node["arguments"]]
        if name in ("+", "-", "*", "/") and len(parts) == 2:
            return _calculated(name, parts[0], parts[1])
        if name in _PARTS and len(parts) == 1 and parts[0][1] == "TIMESTAMP":
            return _strict(parts[0][0], _PARTS[name]), "BIGINT"
        if name == "abs" and len(parts) == 1 and parts[0][1] in ("DOUBLE", "BIGINT"):
            return _strict(parts[0][0], _whole(abs) if parts[0][1] == "BIGINT" else abs), parts[0][1]
        if name == "if" and len(parts) == 3:
            when = _boolean(parts[0])
            (then, otherwise), kind = _all_alike(parts[1:])
            return (lambda row: then(row) if when(row) else otherwise(row)), kind
        if name == "ifnull" and len(parts) == 2:
            values, kind = _all_alike(parts)
            return (lambda row: values[0](row) if values[0](row) is not None else values[1](row)), kind
        raise _Unsupported


def _calculated(name: str, left: tuple[Value, str], right: tuple[Value, str]) -> tuple[Value, str]:
    if not {left[1], right[1]} <= _NUMBERS:
        raise _Unsupported
    if name == "/":
        (one, other), kind = _alike(left, right)
        if kind == "BIGINT":
            one, other = _to_double(one), _to_double(other)
        divide = _both(one, other, _quotient)
        return divide, "DOUBLE"
    (one, other), kind = _alike(left, right)
    function = _CALCULATED[name]
    if kind == "BIGINT":
        return _both(one, other, lambda a, b: _in_range(function(a, b))), kind
    return _both(one, other, function), kind


def _quotient(a: float, b: float) -> float:
    if b == 0.0:
        raise Unclear
    return a / b


def _both(one: Value, other: Value, function: Callable[[Any, Any], Any]) -> Value:
    def calculate(row: Row) -> Any:
        a, b = one(row), other(row)
        return None if a is None or b is None else function(a, b)

    return calculate


def _strict(value: Value, function: Callable[[Any], Any]) -> Value:
    return lambda row: None if (found := value(row)) is None else function(found)


def _whole(function: Callable[[int], int]) -> Callable[[int], int]:
    return lambda value: _in_range(function(value))


def _in_range(value: int) -> int:
    if not _LEAST <= value <= _MOST:
        raise Failed
    return value


def _joined(parts: list[Value], *, decides: bool) -> Value:
    """OR of the parts where true ``decides``, else AND. All are looked at: DuckDB fails where any of them does."""

    def join(row: Row) -> bool | None:
        found = [part(row) for part in parts]
        if decides in found:
            return decides
        return None if None in found else not decides

    return join


def _boolean(part: tuple[Value, str]) -> Value:
    if part[1] not in ("BOOLEAN", "NULL"):
        raise _Unsupported
    return part[0]


def _alike(left: tuple[Value, str], right: tuple[Value, str]) -> tuple[tuple[Value, Value], str]:
    values, kind = _all_alike([left, right])
    return (values[0], values[1]), kind


def _all_alike(parts: list[tuple[Value, str]]) -> tuple[list[Value], str]:
    """The values as those of one type, as DuckDB chooses it."""
    kinds = {kind for _, kind in parts} - {"NULL"}
    if len(kinds) == 1 and kinds <= {"BOOLEAN", "VARCHAR", "TIMESTAMP", "BIGINT", "DOUBLE"}:
        return [value for value, _ in parts], kinds.pop()
    if "DOUBLE" in kinds and kinds <= _NUMBERS:
        return [value if kind == "DOUBLE" else _to_double(value) for value, kind in parts], "DOUBLE"
    if "BIGINT" in kinds and kinds <= {"BIGINT", "SMALL", "INTEGER"}:
        return [value for value, _ in parts], "BIGINT"
    raise _Unsupported


def _to_double(value: Value) -> Value:
    return lambda row: None if (found := value(row)) is None else float(found)


def _cast(value: Value, kind: str, to: str) -> tuple[Value, str]:
    whole = kind in ("BIGINT", "SMALL", "INTEGER", "BOOLEAN")
    if to == kind and to in ("DOUBLE", "BOOLEAN", "VARCHAR", "TIMESTAMP"):
        return value, kind
    if to == "DOUBLE" and (whole or kind == "DECIMAL"):
        return _to_double(value), "DOUBLE"
    if to in _BITS and whole:
        most = 2 ** _BITS[to]

        def narrow(row: Row) -> int | None:
            found = value(row)
            if found is None:
                return None
            if not -most <= found < most:
                raise Failed
            return int(found)

        return narrow, "BIGINT" if to == "BIGINT" else "SMALL"
    raise _Unsupported


def finite(value: Any) -> Any:
    """The value, None for a number that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
