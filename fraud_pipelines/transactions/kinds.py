"""Payments and refunds: what a transaction is, and which of them are decided."""

from typing import Final

import polars as pl

from fraud_pipelines.plan.types import KIND, PAYMENT, REFUND

PAYMENTS: Final = "raw.payments"
"""The view of the transactions that are decided: all but refunds."""

IS_REFUND_SQL: Final = f"coalesce({KIND} = '{REFUND}', false)"


def refunds_in(transactions: pl.DataFrame) -> pl.Series | None:
    """Which rows are refunds; None where none is, which is found out at little cost."""
    if KIND not in transactions.columns or transactions[KIND].dtype != pl.String():
        return None
    refunds = (transactions[KIND] == REFUND).fill_null(value=False)
    return refunds if refunds.any() else None


def told_kind(text: pl.Series) -> pl.Series:
    """What a source says of the kind, in lower case where it is one of ours; a payment where it says nothing."""
    lower = text.str.to_lowercase()
    return text.zip_with(~lower.is_in([PAYMENT, REFUND]), lower).fill_null(PAYMENT)


def payments_of(transactions: pl.DataFrame) -> pl.DataFrame:
    """The rows that are no refunds, in their order."""
    refunds = refunds_in(transactions)
    return transactions if refunds is None else transactions.filter(~refunds)
