"""Choosing: what of the queue or of the payments an address asks for, and the filters as a form shows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fraud_pipelines.decisions.payment_filters import (
    CHANNELS,
    COLUMN,
    DECISIONS,
    KNOWN,
    ORDERS,
    read_filters,
    read_order,
    searched_columns,
)
from fraud_pipelines.decisions.review_queue import BY_LOSS
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.review.desk import Chosen

ROWS: Final = 25
MOST_PAGES: Final = 100_000
_USUAL: Final = ("merchant_id", "country")
"""Columns that the form always has; others are there while they are asked for."""
_WORDS: Final = {
    "loss": "expected loss",
    "newest": "newest first",
    "oldest": "oldest first",
    "amount": "amount",
    "score": "score",
}


@dataclass(frozen=True)
class Choice:
    """What an address asks for: rows, and the query by which links keep to it."""

    chosen: Chosen
    page: int
    order_by_default: str

    @property
    def query(self) -> dict[str, str]:
        """The filters and the order, without the page."""
        order = {} if self.chosen.order == self.order_by_default else {"sort": self.chosen.order}
        return self.chosen.filters.query | order


def choice_of(asked: Mapping[str, str], plan: Plan, *, waiting: bool) -> Choice:
    """What ``asked``, an address's query, chooses of the cases that wait, or of all payments.

    Raises:
        InvalidInput: a filter can't be meant.
    """
    default = BY_LOSS if waiting else "newest"
    page = read_page(asked.get("page", ""))
    order = read_order(asked, default, waiting=waiting)
    chosen = Chosen(read_filters(asked, plan), order, ROWS, (page - 1) * ROWS)
    return Choice(chosen, page, default)


def form_of(choice: Choice, plan: Plan, *, rules: list[str], waiting: bool) -> dict[str, Any]:
    """What the form of filters shows: for each field its choices, and what is chosen."""
    filters = choice.chosen.filters
    chosen = dict(filters.columns)
    columns = [name for name in searched_columns(plan) if name in _USUAL or name in chosen]
    return {
        "action": "/" if waiting else "/payments",
        "filters": filters,
        "asked": filters.query,
        "more": {name: choice.chosen.filters.query.get(COLUMN + name, "") for name in columns},
        "prefix": COLUMN,
        "decisions": [each for each in DECISIONS if not (waiting and each == "approve")],
        "channels": CHANNELS,
        "known": () if waiting else KNOWN,
        "rules": rules,
        "orders": {name: _WORDS[name] for name in ORDERS if waiting or name != BY_LOSS},
        "order": choice.chosen.order,
    }


def pages_of(choice: Choice, number: int) -> dict[str, Any]:
    """The rows that are shown of ``number``, and the pages before and after."""
    return pages_of_list(choice.page, number)


def pages_of_list(page: int, number: int) -> dict[str, Any]:
    """The rows that page ``page`` of a list shows of ``number``, and the pages before and after."""
    last = min(page * ROWS, number)
    return {
        "first": (page - 1) * ROWS + 1,
        "last": last,
        "number": number,
        "before": page - 1 if page > 1 else None,
        "after": page + 1 if last < number else None,
    }


def read_page(text: str) -> int:
    """A number of a page of ours, else the first."""
    page = int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1
    return page if 1 <= page <= MOST_PAGES else 1
