"""An entity's fold over frames: sorts the rows, lines the stored state up with them, and runs the kernel."""

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.features.aggregates import entity_features
from fraud_pipelines.features.declarations import STATISTICS, Entity, span_length
from fraud_pipelines.features.history import History, history_schema
from fraud_pipelines.features.ordering import order_by
from fraud_pipelines.transactions.schema import TIMESTAMP

TIME_RANK: Final = "time_rank"
"""Column of the rows' positions in the order (timestamp, transaction_id)."""

if TYPE_CHECKING:  # numba takes a second to import
    from fraud_pipelines.features.kernel import Plan, Rows, State

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def fold_entity(entity: Entity, transactions: pl.DataFrame, history: History) -> tuple[list[pl.Series], History]:
    """Fold ``transactions`` into ``history``.

    Args:
        transactions: sorted by (user_id, timestamp, transaction_id), with the column `TIME_RANK`.

    Returns:
        One series per declared feature, aligned with ``transactions``, and the new state of those entities that
        occur in them (not of the others).
    """
    from fraud_pipelines.features import kernel

    features = entity_features(entity)
    order, at = _runs(entity, transactions)
    keys = transactions[entity.column].gather(order[at[:-1]])
    stored = pl.DataFrame({entity.column: keys}).join(
        history.frame, on=entity.column, how="left", maintain_order="left"
    )
    rows = _rows(entity, transactions, order, at, stored)
    out = np.full((len(features), transactions.height), np.nan)
    state = kernel.fold(plan(entity), rows, to_state(stored), out)
    series = [
        pl.Series(feature.name, values, nan_to_null=True).cast(feature.dtype)
        for feature, values in zip(features, out, strict=True)
    ]
    latest = {f"last_{column}": transactions[column].gather(order[at[1:] - 1]) for column in entity.changes}
    return series, History(entity, from_state(entity, keys, state, latest))


@cache
def plan(entity: Entity) -> "Plan":
    """The declaration as the kernel reads it: arrays of windows, and the output row of each feature."""
    from fraud_pipelines.features.kernel import Plan

    row = {feature.name: index for index, feature in enumerate(entity_features(entity))}

    def rows(*names: str) -> Ints:
        return np.array([row.get(name, -1) for name in names], dtype=np.int64)

    prefix, profile = entity.prefix, entity.profile
    windows = sorted(entity.windows)
    spans = list(entity.spans)
    counted = entity.count_means[0][0] if entity.count_means else None
    count_windows = sorted(window for _, window in entity.count_means)
    return Plan(
        windows=np.array(windows, dtype=np.int64),
        window_rows=rows(
            *(f"{prefix}amount_rolling_{statistic}_{window}" for window in windows for statistic in STATISTICS)
        ).reshape(-1, len(STATISTICS)),
        lags=np.array(entity.lags, dtype=np.int64),
        lag_rows=rows(*(f"{prefix}amount_lag_{lag}" for lag in entity.lags)),
        spans=np.array([microseconds(span_length(span)) for span in spans], dtype=np.int64),
        span_rows=rows(*(f"{prefix}tx_count_{span}" for span in spans)),
        count_span=spans.index(counted) if counted else -1,
        count_windows=np.array(count_windows, dtype=np.int64),
        count_rows=rows(
            *(f"{prefix}tx_count_rolling_{statistic}_{window}" for window in count_windows for statistic in STATISTICS)
        ).reshape(-1, len(STATISTICS)),
        gap_rows=rows(f"{prefix}minutes_since_last", f"{prefix}days_since_last_tx"),
        changed_rows=rows(*(f"{prefix}{column}_changed" for column in entity.changes)),
        average_row=int(rows(f"{prefix}amount_vs_avg")[0]),
        profile_rows=rows(*_profile_names(entity)),
        profile_window=profile.window if profile else 0,
        profile_weight=profile.weight if profile else 0.0,
        profile_share=profile.share if profile else 0.0,
        outsized_z=profile.outsized_z if profile else 0.0,
        outsized_span=microseconds(profile.outsized_for) if profile else 0,
        kept_amounts=entity.kept_amounts,
        kept_counts=entity.kept_counts,
        kept_span=microseconds(entity.kept_span),
    )


def _profile_names(entity: Entity) -> tuple[str, ...]:
    days = entity.profile.outsized_for.days if entity.profile else 0
    return tuple(f"{entity.name}_{name}" for name in ("z", "rz", "log_ratio", "max_ratio", f"big_{days}d"))


def microseconds(span: timedelta) -> int:
    """Whole microseconds, the unit of every timestamp here."""
    return span // timedelta(microseconds=1)


def _runs(entity: Entity, transactions: pl.DataFrame) -> tuple[Ints, Ints]:
    """Row positions in the order to fold them, and where each entity's run starts in that order (and the last ends)."""
    if entity.column != "user_id":
        return order_by(transactions[entity.column], transactions[TIME_RANK].to_numpy())
    users = transactions["user_id"]
    starts = (users != users.shift(1)).fill_null(True).arg_true().cast(pl.Int64).to_numpy()
    return np.arange(transactions.height, dtype=np.int64), np.append(starts, transactions.height)


def _rows(entity: Entity, transactions: pl.DataFrame, order: Ints, at: Ints, stored: pl.DataFrame) -> "Rows":
    from fraud_pipelines.features.kernel import Rows

    codes = np.empty((len(entity.changes), transactions.height), dtype=np.int64)
    last_codes = np.empty((len(entity.changes), stored.height), dtype=np.int64)
    for k, column in enumerate(entity.changes):
        both = pl.concat([transactions[column], stored[f"last_{column}"].alias(column)]).cast(pl.Categorical)
        both_codes = both.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
        codes[k], last_codes[k] = both_codes[: transactions.height], both_codes[transactions.height :]
    return Rows(
        at=at,
        order=order,
        timestamp=_ints(transactions["timestamp"]),
        amount=_floats(transactions["amount"]),
        codes=codes,
        last_codes=last_codes,
    )


def to_state(stored: pl.DataFrame) -> "State":
    """The kernel's arrays of history rows; a row of nulls is an entity without history."""
    from fraud_pipelines.features.kernel import State

    amounts_at, amounts = _ragged(stored, "recent_amounts")
    times_at, times = _ragged(stored, "recent_timestamps")
    counts_at, counts = _ragged(stored, "recent_counts")
    outsized_at, outsized = _ragged(stored, "outsized_timestamps")
    known = stored["last_timestamp"].is_not_null().cast(pl.Int64)  # of an entity without averages, no more is kept
    return State(
        transactions=_ints(stored["transactions"].fill_null(0) if "transactions" in stored.columns else known),
        total=_floats(stored["amount_total"].fill_null(0.0) if "amount_total" in stored.columns else known),
        newest=_ints(stored["last_timestamp"].to_physical().fill_null(0)),
        amounts_at=amounts_at,
        amounts=_floats(amounts),
        times_at=times_at,
        times=_ints(times),
        counts_at=counts_at,
        counts=_ints(counts),
        outsized_at=outsized_at,
        outsized=_ints(outsized),
    )


def from_state(entity: Entity, keys: pl.Series, state: "State", latest: Mapping[str, pl.Series]) -> pl.DataFrame:
    """History rows of the kernel's arrays; ``latest``: the watched values of each entity's last row."""
    frame = pl.DataFrame(
        {
            entity.column: keys,
            "transactions": state.transactions,
            "amount_total": state.total,
            "last_timestamp": pl.Series(state.newest).cast(TIMESTAMP),
            **latest,
            "recent_amounts": _lists(state.amounts_at, state.amounts),
            "recent_timestamps": _lists(state.times_at, state.times),
            "recent_counts": _lists(state.counts_at, state.counts),
            "outsized_timestamps": _lists(state.outsized_at, state.outsized),
        }
    )
    schema = history_schema(entity)
    return (
        frame.with_columns(declaration=pl.lit(entity.fingerprint))
        .select(pl.col(name).cast(dtype) for name, dtype in schema.items())
        .sort(entity.column)
    )


def _ints(values: pl.Series) -> Ints:
    """A writable copy: numba compiles anew for arrays that are read-only."""
    return np.array(values.to_physical().to_numpy(), dtype=np.int64)


def _floats(values: pl.Series) -> Floats:
    """As `_ints`."""
    return np.array(values.to_numpy(), dtype=np.float64)


def _ragged(stored: pl.DataFrame, column: str) -> tuple[Ints, pl.Series]:
    """Where each list starts (and the end), and all elements in a row; empty lists if the column isn't kept."""
    at = np.zeros(stored.height + 1, dtype=np.int64)
    if column not in stored.columns:
        return at, pl.Series([], dtype=pl.Int64)
    np.cumsum(stored[column].list.len().fill_null(0).to_numpy(), out=at[1:])
    return at, stored[column].explode(empty_as_null=False, keep_nulls=False)


def _lists(at: Ints, elements: Ints | Floats) -> pl.Series:
    """The reverse of `_ragged`."""
    import pyarrow as pa

    lists = pl.from_arrow(pa.LargeListArray.from_arrays(at, elements))
    assert isinstance(lists, pl.Series)
    return lists
