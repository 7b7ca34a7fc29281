"""SQL expressions of declarations, checked by DuckDB without data: scalar, of one row, known columns, a known type."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import duckdb

from fraud_pipelines.plan.problems import unknown
from fraud_pipelines.plan.sql_functions import SCALAR_FUNCTIONS
from fraud_pipelines.plan.types import ColumnType

MAX_LENGTH: Final = 4_000
"""Of an expression, in characters."""

SQL_TYPES: Final[Mapping[ColumnType, str]] = {
    "text": "VARCHAR",
    "number": "DOUBLE",
    "integer": "BIGINT",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP",
}
"""Type of a declaration → DuckDB's."""

_SAMPLES: Final[Mapping[str, str]] = {
    "VARCHAR": "'1'",
    "DOUBLE": "1::DOUBLE",
    "BIGINT": "1::BIGINT",
    "BOOLEAN": "true",
    "TIMESTAMP": "TIMESTAMP '2001-02-03 04:05:06'",
}
"""A value of each type, for a row in which a text that can't be converted shows."""

WHOLE: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
_RESULTS: Final[Mapping[str, ColumnType]] = {
    **dict.fromkeys(WHOLE, "integer"),
    "DOUBLE": "number",
    "FLOAT": "number",
    "BOOLEAN": "boolean",
    "VARCHAR": "text",
    "TIMESTAMP": "timestamp",
}
_CASTS: Final = frozenset(
    {*WHOLE, "INT", "HUGEINT", "DOUBLE", "FLOAT", "REAL", "DECIMAL", "NUMERIC", "BOOLEAN", "BOOL", "VARCHAR", "TEXT"}
    | {"STRING", "TIMESTAMP", "DATE", "TIME", "INTERVAL", "INT1", "INT2", "INT4", "INT8", "FLOAT4", "FLOAT8", "LONG"}
)
"""The types that a value may be cast to; with a time zone, what comes out would depend on the machine."""

_CLASSES: Final = frozenset(
    {"COLUMN_REF", "CONSTANT", "FUNCTION", "COMPARISON", "CONJUNCTION", "CAST", "CASE", "OPERATOR", "BETWEEN", "TYPE"}
)
_OPERATORS: Final = frozenset(
    {"OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE", "OPERATOR_TRY"}
    | {"COMPARE_IN", "COMPARE_NOT_IN"}
)
_ORDER: Final = frozenset(
    {"COMPARE_LESSTHAN", "COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO", "COMPARE_GREATERTHANOREQUALTO"}
)
_OTHER_ROWS: Final[Mapping[str, str]] = {
    "WINDOW": "a window function looks at other rows; declare an aggregate of an entity instead",
    "SUBQUERY": "a subquery looks at other rows; declare an aggregate of an entity instead",
    "STAR": "* stands for several columns; name one",
    "PARAMETER": "a parameter has no value here",
    "POSITIONAL_REFERENCE": "name the column, not its position",
    "LAMBDA": "a lambda can't be used here",
    "DEFAULT": "DEFAULT has no value here",
    "COLLATE": "a collation can't be used here; compare lower(…) instead",
}
_MOMENTS: Final = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "user", "current_user"}
)
_NO_QUERY: Final = "must be one expression, not a query"


class InvalidExpression(ValueError):
    """An expression can't be used; the message says why."""


@dataclass(frozen=True)
class Parsed:
    """An expression that looks at nothing but columns of its own row.

    Attributes:
        sql: as written.
        reads: the columns it names, in lower case, in order of appearance.
        canonical: the same for every layout, comment and case of key words, and for these only.
        column: the column whose value it is, unchanged; None for anything else.
        names: ``reads`` as the expression spells them; a name in two spellings is there twice.
        ordered: pairs of columns of which it asks which one is greater.
    """

    sql: str
    reads: tuple[str, ...]
    canonical: str
    column: str | None
    names: tuple[str, ...] = ()
    ordered: tuple[tuple[str, str], ...] = ()


class ExpressionChecker:
    """Checks expressions in a DuckDB of its own, which has no data and no way to files.

    Args:
        moments: names that are no columns, since SQL gives them a value that differs from run to run.
    """

    def __init__(self, moments: Collection[str] = _MOMENTS) -> None:
        self._moments = moments
        self._connection = duckdb.connect(":memory:", config={"enable_external_access": "false"})
        self._kinds: dict[str, str] = {}

    def __enter__(self) -> "ExpressionChecker":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def parse(self, sql: str) -> Parsed:
        """What ``sql`` reads, provided that it is one scalar expression over a single row.

        Raises:
            InvalidExpression: it is not.
        """
        if len(sql) > MAX_LENGTH:
            raise InvalidExpression(f"is longer than {MAX_LENGTH:,} characters")
        if not sql.strip():
            raise InvalidExpression("is empty")
        try:
            return self._parsed(sql)
        except RecursionError as error:
            raise InvalidExpression("is nested too deeply") from error

    def _parsed(self, sql: str) -> Parsed:
        tree = self._expression(sql)
        if tree["alias"]:
            raise InvalidExpression("names its value by AS; the feature's name is its key")
        reads: dict[str, None] = {}
        names: dict[str, None] = {}
        for node in _nodes(tree):
            column = self._checked(node)
            if column:
                reads.setdefault(column)
                names.setdefault(str(node["column_names"][0]))
        if not reads:
            raise InvalidExpression("reads no column: it would be the same for every row")
        column = next(iter(reads)) if tree["class"] == "COLUMN_REF" else None
        canonical = json.dumps(_canonical(tree), sort_keys=True)
        return Parsed(sql, tuple(reads), canonical, column, tuple(names), tuple(_ordered(tree)))

    def result_type(self, parsed: Parsed, columns: Mapping[str, str]) -> tuple[ColumnType, str]:
        """The type of an expression's value, and the DuckDB type that holds it.

        Args:
            parsed: reads none but ``columns``.
            columns: name → DuckDB type. Whole numbers are read as BIGINT.

        Raises:
            InvalidExpression: the types don't fit, or the value is of a type that no column has.
        """
        read = ", ".join(f'NULL::{read_type(columns[name])} AS "{name}"' for name in parsed.reads)
        try:
            query = f"SELECT ({parsed.sql}\n) FROM (SELECT {read})"
            described = self._connection.execute(f"DESCRIBE {query}").fetchall()
            # Of a row without values: that alone shows a pattern or a unit of time that can't be read.
            self._connection.execute(query)
        except duckdb.Error as error:
            raise InvalidExpression(_first_line(error)) from error
        self._check_texts(parsed, columns)
        given = str(described[0][1])
        if given.startswith("DECIMAL") or given == "HUGEINT":
            given = "DOUBLE"
        if given not in _RESULTS:
            raise InvalidExpression(f"gives a value of type {given}; cast it to a number, text or boolean")
        return _RESULTS[given], "DOUBLE" if given == "FLOAT" else given

    def _check_texts(self, parsed: Parsed, columns: Mapping[str, str]) -> None:
        """Refuse a text that is no value of the type it is compared to: `amount > 'high'` would fail on every row."""
        texts = [text.replace("''", "'") for text in re.findall(r"'((?:[^']|'')*)'", parsed.sql)]
        if not texts:
            return
        sample = ", ".join(f'{_SAMPLES[read_type(columns[name])]} AS "{name}"' for name in parsed.reads)
        try:
            self._connection.execute(f"SELECT ({parsed.sql}\n) FROM (SELECT {sample})")
        except duckdb.ConversionException as error:
            message = str(error).split("\n", maxsplit=1)[0]
            # A column's own text may be any other than that of the sample.
            of_column = "source column" in message
            if not of_column and any(f"'{text}'" in message or f'"{text}"' in message for text in texts):
                raise InvalidExpression(_first_line(error)) from error
        except duckdb.Error:
            # It depends on the values of a row, which are others than those of the sample.
            return

    def _expression(self, sql: str) -> dict[str, Any]:
        try:
            [(answer,)] = self._connection.execute("SELECT json_serialize_sql(?)", [f"SELECT {sql}\n"]).fetchall()
        except duckdb.Error as error:
            raise InvalidExpression(f"is no SQL: {_first_line(error)}") from error
        parsed = json.loads(answer)
        if parsed["error"]:
            if parsed.get("error_type") == "not implemented":
                raise InvalidExpression(_NO_QUERY)
            message = _words(parsed["error_message"])
            deep = "expression depth" in message
            raise InvalidExpression("is nested too deeply" if deep else f"is no SQL: {message}")
        nodes = [statement["node"] for statement in parsed["statements"]]
        if len(nodes) != 1 or nodes[0]["type"] != "SELECT_NODE" or len(nodes[0]["select_list"]) != 1:
            raise InvalidExpression(_NO_QUERY)
        beside = ("modifiers", "where_clause", "group_expressions", "group_sets", "having", "sample", "qualify")
        if nodes[0]["from_table"]["type"] != "EMPTY" or any(nodes[0].get(part) for part in beside):
            raise InvalidExpression(_NO_QUERY)
        expression: dict[str, Any] = nodes[0]["select_list"][0]
        return expression

    def _checked(self, node: Mapping[str, Any]) -> str | None:
        """The column that ``node`` names, if it is one.

        Raises:
            InvalidExpression: such a node has no place in an expression over a row.
        """
        kind = node["class"]
        if kind not in _CLASSES:
            raise InvalidExpression(_OTHER_ROWS.get(kind, f"{kind.lower()} can't be used here"))
        if kind == "OPERATOR" and node["type"] not in _OPERATORS:
            raise InvalidExpression(f"{node['type'].lower().replace('_', ' ')} can't be used here")
        if kind == "TYPE" and node["type_name"].upper() not in _CASTS:
            raise InvalidExpression(f"can't cast to {node['type_name']}; cast to a number, text, boolean or TIMESTAMP")
        if kind == "FUNCTION":
            self._check_function(node)
        if kind != "COLUMN_REF":
            return None
        names = node["column_names"]
        if len(names) > 1:
            raise InvalidExpression(f"{'.'.join(names)}: write the name of the column alone")
        name = str(names[0]).lower()
        if name in self._moments:
            raise InvalidExpression(f"{name} differs from run to run; only what the row holds can be used")
        return name

    def _check_function(self, node: Mapping[str, Any]) -> None:
        name = str(node["function_name"]).lower().removesuffix("_star")
        if node["schema"] or node["catalog"]:
            raise InvalidExpression(f"write the function {name} without a schema")
        if name in SCALAR_FUNCTIONS and not (node["filter"] or node["distinct"] or node["order_bys"]["orders"]):
            return
        kind = self._kind(name)
        if kind in ("aggregate", "window"):
            raise InvalidExpression(f"{name}() looks at other rows; declare an aggregate of an entity instead")
        if kind == "volatile":
            raise InvalidExpression(f"{name}() differs from run to run; only what the row holds can be used")
        if kind == "table":
            raise InvalidExpression(f"{name}() gives a table, not a value of the row")
        if kind:
            raise InvalidExpression(
                f"the function {name} can't be used here (docs/declarations.md lists those that can)"
            )
        raise InvalidExpression(
            unknown(name, "function", sorted(each for each in SCALAR_FUNCTIONS if each[0].isalpha()))
        )

    def _kind(self, name: str) -> str | None:
        """What DuckDB knows the function as; ``volatile`` for one that doesn't depend on its arguments alone."""
        if not self._kinds:
            known = self._connection.execute(
                "SELECT lower(function_name), function_type, stability FROM duckdb_functions()"
            ).fetchall()
            for known_name, kind, stability in known:
                volatile = kind == "scalar" and stability != "CONSISTENT"
                self._kinds.setdefault(known_name, "volatile" if volatile else kind)
            self._kinds |= dict.fromkeys(("current_localtime", "current_localtimestamp", "age", "version"), "volatile")
            self._kinds["unnest"] = "table"
        return self._kinds.get(name)


def read_type(sql_type: str) -> str:
    """The type in which an expression reads a column of ``sql_type``: a small whole number would overflow."""
    return "BIGINT" if sql_type in WHOLE else sql_type


def _nodes(tree: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every expression within ``tree``, itself first, in order of appearance."""
    waiting: list[Any] = [tree]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += reversed(each)
        elif isinstance(each, dict):
            if "class" in each:
                yield each
            waiting += reversed(each.values())


def _ordered(tree: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The pairs of columns that are put in order by a comparison, BETWEEN, greatest or least."""
    for node in _nodes(tree):
        if node["class"] == "COMPARISON" and node["type"] in _ORDER:
            sides = [node["left"], node["right"]]
        elif node["class"] == "BETWEEN":
            sides = [node["input"], node["lower"], node["upper"]]
        elif node["class"] == "FUNCTION" and str(node["function_name"]).lower() in ("greatest", "least"):
            sides = [each["expression"] for each in node["arguments"]]
        else:
            continue
        columns = [str(side["column_names"][0]) for side in sides if side["class"] == "COLUMN_REF"]
        yield from pairwise(columns)


def _canonical(tree: Any) -> Any:
    """The tree without places in the text, names in lower case."""
    if isinstance(tree, list):
        return [_canonical(each) for each in tree]
    if not isinstance(tree, dict):
        return tree
    kept = {name: _canonical(each) for name, each in tree.items() if not name.startswith("query_location")}
    if kept.get("class") == "COLUMN_REF":
        kept["column_names"] = [name.lower() for name in kept["column_names"]]
    if kept.get("class") == "TYPE":
        kept = {"type": kept["type_name"].upper(), "children": kept["children"]}
    return kept


def _first_line(error: duckdb.Error) -> str:
    """What DuckDB says, without its kind of error, its candidates and its picture of the query."""
    return _words(str(error).split("\n", maxsplit=1)[0].partition(" Error: ")[2] or str(error).split("\n")[0])


def _words(message: str) -> str:
    return " ".join(message.split())
