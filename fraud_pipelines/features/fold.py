"""An entity's fold over frames: lines the rows and the stored state up, and runs the kernel."""

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.features.aggregates import entity_features
from fraud_pipelines.features.declarations import STATISTICS, Entity, Feature, span_length
from fraud_pipelines.features.history import History, history_schema
from fraud_pipelines.features.ordering import Piece
from fraud_pipelines.transactions.schema import TIMESTAMP

if TYPE_CHECKING:  # numba takes a second to import
    from fraud_pipelines.features.kernel import Plan, State

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def fold_piece(entity: Entity, transactions: pl.DataFrame, piece: Piece, history: History) -> tuple[Floats, History]:
    """Fold the rows of some entities into ``history``.

    Returns:
        The entity's features, shape (features, rows of the piece), NaN for null, and the new state of the entities
        of the piece (not of others).
    """
    from fraud_pipelines.features import kernel

    stored = pl.DataFrame({entity.column: piece.keys}).join(
        history.frame, on=entity.column, how="left", maintain_order="left"
    )
    watched = {column: transactions[column].gather(piece.order) for column in entity.changes}
    codes, last_codes = _coded(watched, stored, piece.order.size)
    rows = kernel.Rows(
        at=piece.at,
        timestamp=transactions["timestamp"].to_physical().to_numpy()[piece.order],
        amount=transactions["amount"].to_numpy()[piece.order],
        codes=codes,
        last_codes=last_codes,
    )
    out = np.full((len(entity_features(entity)), piece.order.size), np.nan)
    state = kernel.fold(plan(entity), rows, to_state(stored), out)
    latest = {f"last_{column}": values.gather(piece.at[1:] - 1) for column, values in watched.items()}
    return out, History(entity, from_state(entity, piece.keys, state, latest))


def to_series(feature: Feature, values: Floats) -> pl.Series:
    """The column of ``feature``, NaN being null; many floats are taken over without a copy."""
    import pyarrow as pa

    if values.size < FEW_VALUES:
        return pl.Series(feature.name, values, nan_to_null=True).cast(feature.dtype)
    known = ~np.isnan(values)
    nulls = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
    if feature.dtype.is_integer():
        values = np.where(known, values, 0.0)
    numbers = values.astype(str(feature.dtype).lower(), copy=False)
    array = pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), numbers.size, [nulls, pa.py_buffer(numbers)])
    series = pl.from_arrow(array)
    assert isinstance(series, pl.Series)
    return series.alias(feature.name)


FEW_VALUES: Final = 10_000
"""So few that to copy them is cheaper than to hand them over."""


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


def _coded(watched: Mapping[str, pl.Series], stored: pl.DataFrame, rows: int) -> tuple[Ints, Ints]:
    """The watched columns as numbers, shape (columns, rows), and those of each entity's last row; -1 is unknown."""
    codes = np.empty((len(watched), rows), dtype=np.int64)
    last_codes = np.empty((len(watched), stored.height), dtype=np.int64)
    for k, (column, values) in enumerate(watched.items()):
        both = pl.concat([values, stored[f"last_{column}"].alias(values.name)]).cast(pl.Categorical)
        both_codes = both.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
        codes[k], last_codes[k] = both_codes[:rows], both_codes[rows:]
    return codes, last_codes


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
