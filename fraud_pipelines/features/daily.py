"""A day's features in the warehouse, from the day's transactions and the histories as of the day before."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import duckdb
import polars as pl

from fraud_pipelines.features.catalog import FEATURES
from fraud_pipelines.features.daily_distributions import forget_distributions
from fraud_pipelines.features.declarations import ENTITIES
from fraud_pipelines.features.engine import Prepared, fold_rows, prepare, uncomputable
from fraud_pipelines.features.feedback import Past
from fraud_pipelines.features.gaps import gaps_before, mark_late_gaps, require_no_gap
from fraud_pipelines.features.history import History
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
        MissingData: there are no transactions on ``day``, or an earlier day has some and was never derived.
        InvalidInput: the histories were kept for other declarations than those in force.
    """
    with warehouse.connect(read_only=True) as connection:
        require_no_gap(connection, day)
        inputs = _read(connection, day)
    return _derive(warehouse, day, inputs)


def derive_earlier_days(warehouse: Warehouse, day: date) -> Iterator[DayReport]:
    """Derive what `derive_day` of ``day`` misses: the features of each earlier day that has transactions and none.

    Days that were derived from histories which change by that are derived again, so that ``day`` starts from nothing
    outdated. Their scores and decisions still follow from the features before: they stay in ``raw.stale_days``.
    Days are derived in order, each in a transaction of its own.
    """
    with warehouse.connect(read_only=True) as connection:
        waiting = {gap.day for gap in gaps_before(connection, day)}
    while waiting:
        earliest = min(waiting)
        with warehouse.connect(read_only=True) as connection:
            inputs = _read(connection, earliest)
        report = _derive(warehouse, earliest, inputs)
        waiting.remove(earliest)
        waiting.update(outdated for outdated in report.outdated_days if outdated < day)
        yield report


@dataclass(frozen=True)
class _Inputs:
    """What a day's features are computed from."""

    rows: Prepared
    before: dict[str, History]
    past: Past


def _read(connection: duckdb.DuckDBPyConnection, day: date) -> _Inputs:
    rows = prepare(_transactions(connection, day))
    before = {entity.name: read_history(connection, entity, rows.runs[entity.name].keys, day) for entity in ENTITIES}
    return _Inputs(rows, before, read_past(connection, rows.transactions, day))


def _derive(warehouse: Warehouse, day: date, inputs: _Inputs) -> DayReport:
    features, after = fold_rows(inputs.rows, inputs.before, inputs.past)
    with warehouse.transaction() as connection:
        create_tables(connection)
        overwrite(connection, FEATURE_TABLE, features, event_date=day)
        forget_distributions(connection, [day])
        outdated = sorted({late for history in after.values() for late in write_history(connection, history, day)})
        mark_stale(connection, outdated, f"history changed by a rerun of {day}")
        mark_late_gaps(connection, day)
    nulls = features.select(pl.col(name).null_count() for name in FEATURES).row(0, named=True)
    return DayReport(
        day=day,
        rows=features.height,
        users=len(after["user"]),
        new_users=len(after["user"]) - len(inputs.before["user"]),
        nulls=nulls,
        uncomputable=uncomputable(inputs.rows.transactions),
        outdated_days=tuple(outdated),
    )


def _transactions(connection: duckdb.DuckDBPyConnection, day: date) -> pl.DataFrame:
    require_transactions(connection, day)
    names = ", ".join(f'"{name}"' for name in TRANSACTION_COLUMNS)
    return select(connection, f"SELECT {names} FROM raw.transactions WHERE event_date = ?", [day])
