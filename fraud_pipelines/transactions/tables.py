"""The table of transactions: a column for each that is declared."""

from collections.abc import Iterable

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.expressions import SQL_TYPES
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.types import Attribute
from fraud_pipelines.storage.connection import Connection, columns_of

TABLE = "raw.transactions"


def add_declared_columns(connection: Connection, plan: Plan) -> None:
    """Add the columns of the plan that ``raw.transactions`` lacks, and describe them; they are null of earlier rows.

    A column that is declared no more stays, with what it holds.

    Raises:
        InvalidInput: a column is there with another type than it is declared with.
    """
    add_columns_of(connection, plan.attributes)


def add_columns_of(connection: Connection, attributes: Iterable[Attribute]) -> None:
    """`add_declared_columns` of these columns."""
    stored = columns_of(connection, TABLE)
    for attribute in attributes:
        name, kind = attribute.name, SQL_TYPES[attribute.type]
        if name not in stored:
            connection.add_column(TABLE, name, kind)
            connection.comment(TABLE, name, attribute.description or f"Declared: {attribute.type}.")
        elif stored[name] != kind:
            raise InvalidInput(
                f"{TABLE}.{name} holds {stored[name]}, and the declarations say {attribute.type}, which is {kind}. "
                "Declare the column with another name, or with the type it has."
            )


def declared_columns(plan: Plan) -> str:
    """What `add_declared_columns` makes, as text: equal texts make equal columns."""
    return repr([(each.name, each.type, each.description) for each in plan.attributes])
