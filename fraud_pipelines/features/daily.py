"""A day's features in the warehouse, from the day's transactions and the histories as of the day before."""

from dataclasses import dataclass
from datetime import date

import duckdb
import polars as pl

from fraud_pipelines.features.catalog import FEATURES
from fraud_pipelines.features.declarations import ENTITIES
from fraud_pipelines.features.engine import fold_rows, prepare, uncomputable
from fraud_pipelines.features.tables import (
    FEATURE_TABLE,
    create_tables,
    mark_stale,
    read_history,
    read_past,
    write_history,
)
from fraud_pipelines.storage.warehouse import Warehouse, overwrite, select
from fraud_pipelines.transactions.days import require_transactions
from fraud_pipelines.transactions.schema import TRANSACTION_COLUMNS


@dataclass(frozen=True)
class DayReport:
    """What `derive_day` did.

    Attributes:
        rows: transactions of the day, each with its features.
        users: distinct users among them.
        new_users: those without an earlier transaction.
        nulls: how many rows have no value, by feature.
        uncomputable: features that are null throughout since a column they need is unknown, and that column.
        outdated_days: later days marked in ``raw.stale_days``, since their features came from another history.
    """

    day: date
    rows: int
    users: int
    new_users: int
    nulls: dict[str, int]
    uncomputable: dict[str, str]
    outdated_days: tuple[date, ...]


def derive_day(warehouse: Warehouse, day: date) -> DayReport:
    """Replace the features of ``day``, and the histories as of its end, in one transaction.

    The day starts from the histories as they stood at its beginning, whatever has been derived since.

    Raises:
        MissingData: there are no transactions on ``day``.
        InvalidInput: the histories were kept for other declarations than those in force.
    """
    with warehouse.connect(read_only=True) as connection:
        rows = prepare(_transactions(connection, day))
        before = {
            entity.name: read_history(connection, entity, rows.runs[entity.name].keys, day) for entity in ENTITIES
        }
        past = read_past(connection, rows.transactions, day)
    features, after = fold_rows(rows, before, past)
    with warehouse.transaction() as connection:
        create_tables(connection)
        overwrite(connection, FEATURE_TABLE, features, event_date=day)
        outdated = sorted({late for history in after.values() for late in write_history(connection, history, day)})
        mark_stale(connection, outdated, f"history changed by a rerun of {day}")
    nulls = features.select(pl.col(name).null_count() for name in FEATURES).row(0, named=True)
    return DayReport(
        day=day,
        rows=features.height,
        users=len(after["user"]),
        new_users=len(after["user"]) - len(before["user"]),
        nulls=nulls,
        uncomputable=uncomputable(rows.transactions),
        outdated_days=tuple(outdated),
    )


def _transactions(connection: duckdb.DuckDBPyConnection, day: date) -> pl.DataFrame:
    require_transactions(connection, day)
    names = ", ".join(f'"{name}"' for name in TRANSACTION_COLUMNS)
    return select(connection, f"SELECT {names} FROM raw.transactions WHERE event_date = ?", [day])
