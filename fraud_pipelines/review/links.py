"""Paths within the page: lists of payments, entities, the queue as it was chosen."""

from urllib.parse import urlencode

from fraud_pipelines.decisions.payment_filters import COLUMN


def entity_path(column: str, value: object) -> str:
    """The page of all payments of a value of a column."""
    return "/entity?" + urlencode({"column": column, "value": value})


def cases_path(**asked: object) -> str:
    """The list of cases, narrowed."""
    return "/cases" + _query(asked)


def case_of_path(case_id: str, **more: str) -> str:
    """The page of the case of a customer, or another entity."""
    return "/cases/case" + _query({"id": case_id, **more})


def payments_path(**asked: object) -> str:
    """The list of payments that meet filters, by their names in a query."""
    return "/payments" + _query(asked)


def queue_path(**asked: object) -> str:
    """The queue, narrowed by filters."""
    return "/" + _query(asked)


def column_name(column: str) -> str:
    """The name in a query by which a column of a transaction is asked for."""
    return COLUMN + column


def _query(asked: dict[str, object]) -> str:
    given = {name: value for name, value in asked.items() if value not in (None, "")}
    return "?" + urlencode(given) if given else ""
