"""A buffer of each user's latest transactions, with rolling features and lags of any numeric column."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.connection import columns_of
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.kinds import PAYMENTS

Value = str | float | int | bool | datetime | None
Transaction = Mapping[str, Value]

WINDOW_SIZE: Final = 1000
WARM_WINDOW_SIZE: Final = 500


Statistic = Literal["mean", "std", "min", "max"]

STATISTICS: Final[tuple[Statistic, ...]] = ("mean", "std", "min", "max")


class UserBuffers:
    """The last ``window_size`` transactions of each user, in the order in which they were appended.

    Rolling windows include the current transaction and may be incomplete; a standard deviation has ddof 1. What
    a column leaves null is left out of its windows. What is undefined is null: a window without a value, the standard
    deviation of one, a lag before the first transaction. Features are named ``{column}_rolling_{statistic}_{window}``
    and ``{column}_lag_{k}``; they are to the bit what the fold gives where such an aggregate of the user is declared.

    The state of the fold (`LiveHistories`) can't stand in for the rows: it holds of the declared columns what the
    declared windows reach, packed. Here columns, windows and lags are chosen when features are asked for, and `tail`
    gives back the transactions as they came, with columns that nobody has declared.

    Args:
        window_size: transactions kept of a user unless `create` says otherwise; the oldest leave first.
        plan: what is declared; by default what ships. `warm_up` reads its columns.
    """

    def __init__(self, window_size: int = WINDOW_SIZE, *, plan: Plan | None = None) -> None:
        self.window_size = _positive("window_size", window_size)
        attributes = (plan or shipped_plan()).attributes
        self._columns = [attribute.name for attribute in attributes]
        self._never_null = {attribute.name for attribute in attributes if attribute.required}
        self._buffers: dict[str, deque[Transaction]] = {}

    def __len__(self) -> int:
        """How many users have a buffer."""
        return len(self._buffers)

    def __contains__(self, user_id: object) -> bool:
        return user_id in self._buffers

    def create(self, user_id: str, window_size: int | None = None) -> None:
        """Give a user an empty buffer, or the buffer another size; what fits of its content stays."""
        size = self.window_size if window_size is None else _positive("window_size", window_size)
        self._buffers[user_id] = deque(self._buffers.get(user_id, ()), maxlen=size)

    def append(self, user_id: str, transaction: Transaction) -> None:
        """Add one transaction; a user without a buffer gets one."""
        if user_id not in self._buffers:
            self.create(user_id)
        self._buffers[user_id].append(dict(transaction))

    def remove(self, user_id: str) -> None:
        """Forget a user, known or not."""
        self._buffers.pop(user_id, None)

    def size(self, user_id: str) -> int:
        """How many transactions the user's buffer holds; 0 without a buffer."""
        return len(self._buffers.get(user_id, ()))

    def tail(self, user_id: str, rows: int = 1) -> list[Transaction]:
        """The user's latest transactions as they were appended, oldest first."""
        buffer = self._buffers.get(user_id, deque())
        return list(islice(buffer, max(len(buffer) - rows, 0), None))

    def features(
        self,
        user_id: str,
        *,
        rolling_windows: Sequence[int] = (5, 10, 50),
        statistics: Sequence[Statistic] = STATISTICS,
        lag_periods: Sequence[int] = (1, 5, 10),
        columns: Sequence[str] | None = None,
        tail: int | None = None,
    ) -> pl.DataFrame:
        """The buffered transactions with rolling features and lags of their numeric columns.

        Args:
            columns: which columns to roll; by default every one that holds numbers.
            tail: only the latest so many rows; windows reach further back all the same.

        Raises:
            InvalidInput: a window, lag or statistic is none, or a named column holds something else than numbers.
        """
        windows = sorted({_positive("a rolling window", window) for window in rolling_windows})
        lags = [_positive("a lag", lag) for lag in lag_periods]
        unknown = [name for name in statistics if name not in STATISTICS]
        if unknown:
            raise InvalidInput(f"{unknown} are no rolling statistics; there are {list(STATISTICS)}")
        buffered = self.size(user_id)
        wanted = buffered if tail is None else min(_positive("tail", tail), buffered)
        rows = self.tail(user_id, wanted + max([0, *windows, *lags]))
        frame = pl.DataFrame([dict(row) for row in rows], infer_schema_length=None)
        names = _numeric(frame) if columns is None else list(columns)
        rolled: list[pl.Series] = []
        for name in names:
            values, sparse = _floats(frame, name), self._sparse(frame, name)
            rolled += _rolled(values, name, len(rows) - wanted, windows, statistics, lags, sparse=sparse)
        return frame.tail(wanted).with_columns(rolled)

    def warm_up(
        self, warehouse: Warehouse, user_ids: Iterable[str], *, window_size: int = WARM_WINDOW_SIZE
    ) -> dict[str, int]:
        """Fill the buffers of users who are expected with their latest stored transactions.

        Returns:
            How many transactions each of them has now; 0 for one who is unknown.
        """
        users = sorted(set(user_ids))
        with warehouse.connect(read_only=True) as connection:
            stored_columns = columns_of(connection, "raw.transactions")
        names = ", ".join(f'"{name}"' for name in self._columns if name in stored_columns)
        stored = warehouse.read(
            f"""
            SELECT {names} FROM {PAYMENTS} WHERE user_id IN $users
            QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY "timestamp" DESC, transaction_id DESC) <= $size
            ORDER BY user_id, "timestamp", transaction_id
            """,
            {"users": users, "size": _positive("window_size", window_size)},
        )
        for user in users:
            self._buffers[user] = deque(maxlen=window_size)
        for row in stored.iter_rows(named=True):
            self._buffers[row["user_id"]].append(row)
        return {user: self.size(user) for user in users}

    def _sparse(self, frame: pl.DataFrame, name: str) -> bool:
        """Whether the fold would add a column up as one that may be null."""
        return name not in self._never_null or frame[name].null_count() > 0


def _positive(what: str, number: int) -> int:
    if number < 1:
        raise InvalidInput(f"{what} counts transactions and must be at least 1, not {number}")
    return int(number)


def _numeric(frame: pl.DataFrame) -> list[str]:
    return [name for name, dtype in frame.schema.items() if dtype.is_numeric()]


def _floats(frame: pl.DataFrame, name: str) -> NDArray[np.float64]:
    """A column as numbers, NaN where it is null."""
    if name not in frame.columns or not (frame.schema[name].is_numeric() or frame.schema[name] == pl.Null()):
        raise InvalidInput(f"the column {name!r} holds no numbers; there are {_numeric(frame)}")
    return np.array(frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy())


def _rolled(
    values: NDArray[np.float64],
    name: str,
    first: int,
    windows: list[int],
    statistics: Sequence[Statistic],
    lags: list[int],
    *,
    sparse: bool,
) -> list[pl.Series]:
    """The named features of the rows from ``first`` on."""
    from fraud_pipelines.features.kernel import roll_column

    out = np.full((len(STATISTICS) * len(windows) + len(lags), values.size - first), np.nan)
    roll_column(values, sparse, first, np.array(windows, dtype=np.int64), np.array(lags, dtype=np.int64), out)
    computed = {
        f"{name}_rolling_{statistic}_{window}": out[len(STATISTICS) * k + i]
        for k, window in enumerate(windows)
        for i, statistic in enumerate(STATISTICS)
        if statistic in statistics
    }
    computed |= {f"{name}_lag_{lag}": out[len(STATISTICS) * len(windows) + k] for k, lag in enumerate(lags)}
    return [pl.Series(feature, column, nan_to_null=True) for feature, column in computed.items()]
