"""Search: the payments, customers, merchants, devices and other values that begin with what a person typed."""

from dataclasses import dataclass
from typing import Final

from fraud_pipelines.decisions.payment_filters import MAX_CHARACTERS, linked_columns, searched_columns
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.tokens import PREFIX
from fraud_pipelines.storage.warehouse import Warehouse

TRANSACTION: Final = "transaction_id"
MOST_OF_A_COLUMN: Final = 8


@dataclass(frozen=True)
class Match:
    """A value of a column that begins with the text, how many payments have it, and whether it is the text itself."""

    column: str
    value: str
    payments: int
    exact: bool


@dataclass(frozen=True)
class Matches:
    """What was found, the columns of ids first, of each the value itself and then those with most payments.

    ``of_column`` says how many values of each column there are: no more than `MOST_OF_A_COLUMN` are among the matches.
    """

    text: str
    found: tuple[Match, ...]
    of_column: dict[str, int]

    @property
    def transaction(self) -> str | None:
        """The one transaction that the text names, where it names nothing else."""
        exact = [each for each in self.found if each.exact]
        return exact[0].value if [each.column for each in exact] == [TRANSACTION] else None


def search(warehouse: Warehouse, plan: Plan, text: str) -> Matches:
    """Whatever begins with ``text`` among all columns of text and whole numbers, whatever the case of its letters.

    Where tokens are stored, an id finds what has its token; the beginning of an id finds nothing.

    Raises:
        InvalidInput: the text is longer than any value is.
    """
    text = text.strip()
    if len(text) > MAX_CHARACTERS or not text.isprintable():
        raise InvalidInput(f"Search for at most {MAX_CHARACTERS} characters, on one line.")
    if not text:
        return Matches(text, (), {})
    columns = searched_columns(plan)
    each = "\nUNION ALL\n".join(
        f"""
        (SELECT {position} AS place, "{column}"::VARCHAR AS value, count(*) AS payments,
                "{column}"::VARCHAR = $value_{position} AS exact, count(*) OVER () AS number
         FROM raw.transactions
         WHERE starts_with(lower("{column}"::VARCHAR), lower($value_{position}))
         GROUP BY ALL
         ORDER BY exact DESC, payments DESC, value LIMIT {MOST_OF_A_COLUMN})
        """
        for position, column in enumerate(columns)
    )
    values = {f"value_{position}": _searched(plan, column, text) for position, column in enumerate(columns)}
    rows = warehouse.read(f"SELECT * FROM ({each})", values)
    ids = [TRANSACTION, *linked_columns(plan)]
    order = {name: at for at, name in enumerate([*ids, *(name for name in columns if name not in ids)])}
    found = [
        (Match(columns[place], value, payments, exact), number)
        for place, value, payments, exact, number in rows.iter_rows()
    ]
    found.sort(key=lambda pair: (order[pair[0].column], not pair[0].exact, -pair[0].payments, pair[0].value))
    return Matches(text, tuple(match for match, _ in found), {match.column: int(number) for match, number in found})


def _searched(plan: Plan, column: str, text: str) -> str:
    """What a value begins with: the beginning of a token is looked for as it is, as people copy it from a page."""
    return text if text.lower().startswith(PREFIX) else plan.stored(column, text)
