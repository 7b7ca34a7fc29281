"""What a customer, a device, a merchant or another entity shares with others, two steps away."""

from dataclasses import dataclass
from typing import Final

import polars as pl

from fraud_pipelines.decisions.blind_review import decisions_told
from fraud_pipelines.decisions.payment_filters import linked_columns
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.connection import Connection, registered, select
from fraud_pipelines.storage.warehouse import Warehouse

MOST_SHARED: Final = 6
"""Values of a column that are told, those with known frauds and alerts first."""
MOST_OTHERS: Final = 4
"""Others of each of them that are told."""
HUB: Final = 40
"""What more others than this share says nothing of any of them: they are counted and not named."""


@dataclass(frozen=True)
class Standing:
    """A value of a column, the payments it was counted in, and how many of them were alerts or are known frauds."""

    column: str
    value: str
    payments: int
    alerts: int
    known_frauds: int


@dataclass(frozen=True)
class Shared:
    """A value that payments of the entity have, in ``standing`` of those payments alone.

    Attributes:
        others: entities of the first kind that have it as well, with what they did there; not all of them.
        number_of_others: how many there are.
    """

    standing: Standing
    others: tuple[Standing, ...]
    number_of_others: int

    @property
    def is_hub(self) -> bool:
        return self.number_of_others > HUB


@dataclass(frozen=True)
class Neighbourhood:
    """An entity and what it shares with whom.

    Attributes:
        shared: by column, that of the fewest values first; of each those with known frauds and alerts first.
        numbers: column → how many values of it the entity's payments have.
    """

    column: str
    value: str
    shared: tuple[Shared, ...]
    numbers: dict[str, int]


def read_neighbourhood(
    warehouse: Warehouse, plan: Plan, column: str, value: str, *, blind: bool = False
) -> Neighbourhood:
    """The neighbourhood of the entity whose ``column`` is ``value``.

    ``blind``, decisions are as `decisions.blind_review` tells them.

    Raises:
        InvalidInput: no entity is told by the column.
    """
    kinds = linked_columns(plan)
    if column not in kinds:
        raise InvalidInput(f"No entity is told by {column!r}; there are {', '.join(kinds)}.")
    with warehouse.connect(read_only=True) as connection:
        told = decisions_told(blind=blind)
        of_entity = f't."{column}"::VARCHAR = $value'
        own = {
            other: _standings(connection, other, of_entity, {"value": value}, told=told)
            for other in kinds
            if other != column
        }
        # A few devices tell more than many merchants.
        fewest_first = sorted((other for other in own if own[other].height), key=lambda other: own[other].height)
        shared = [
            each
            for other in fewest_first
            for each in _with_others(connection, column, value, other, own[other].head(MOST_SHARED), told=told)
        ]
    return Neighbourhood(column, value, tuple(shared), {other: own[other].height for other in fewest_first})


def _with_others(
    connection: Connection, column: str, value: str, other: str, own: pl.DataFrame, *, told: str
) -> list[Shared]:
    with registered(connection, _shared=own.select(beside="value")):
        beside = select(
            connection,
            f"""
            SELECT t."{other}"::VARCHAR AS beside, count(DISTINCT t."{column}") AS others
            FROM raw.transactions t
            WHERE t."{other}"::VARCHAR IN (SELECT beside FROM _shared)
              AND t."{column}"::VARCHAR <> $value
            GROUP BY ALL
            """,
            {"value": value},
        )
    numbers = dict(beside.iter_rows())
    named = [by for by, number in numbers.items() if number <= HUB]
    found: dict[str, list[Standing]] = {}
    if named:
        with registered(connection, _named=pl.DataFrame({"beside": named})):
            others = _standings(
                connection,
                column,
                f't."{other}"::VARCHAR IN (SELECT beside FROM _named) AND t."{column}"::VARCHAR <> $value',
                {"value": value},
                by=other,
                told=told,
            )
        for by, *standing in others.iter_rows():
            found.setdefault(by, []).append(Standing(column, *standing))
    return [
        Shared(Standing(other, *standing), tuple(found.get(standing[0], ())[:MOST_OTHERS]), numbers.get(standing[0], 0))
        for standing in own.iter_rows()
    ]


def _standings(
    connection: Connection,
    column: str,
    condition: str,
    parameters: dict[str, object],
    *,
    told: str,
    by: str = "",
) -> pl.DataFrame:
    """``value``, ``payments``, ``alerts``, ``frauds`` of each value of a column, those to look at first first.

    With ``by``, of each value of that column too, which comes first.
    """
    grouped = f't."{by}"::VARCHAR AS beside,' if by else ""
    return select(
        connection,
        f"""
        WITH chosen AS (
            SELECT {grouped} t."{column}"::VARCHAR AS value, t.transaction_id
            FROM raw.transactions t
            WHERE t."{column}" IS NOT NULL AND {condition}
        ),
        alerted AS (
            SELECT DISTINCT transaction_id FROM {told} SEMI JOIN chosen USING (transaction_id)
            WHERE decision <> 'approve'
        )
        SELECT {"beside," if by else ""} value, count(*) AS payments, count(a.transaction_id) AS alerts,
               count(*) FILTER (WHERE l.actual_fraud) AS frauds
        FROM chosen
        LEFT JOIN alerted a USING (transaction_id)
        LEFT JOIN feedback.labels_before(now() AT TIME ZONE 'UTC') l USING (transaction_id)
        GROUP BY ALL
        ORDER BY frauds DESC, alerts DESC, payments DESC, value
        """,
        parameters,
    )
