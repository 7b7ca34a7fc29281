"""Ways to compute the same features: this project's fold, DuckDB windows, Polars by group and sorted; and the floor."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa

from fraud_pipelines.features.engine import fold_in_shards, prepare
from fraud_pipelines.features.feature_plan import feature_plan
from fraud_pipelines.features.history import History, empty_histories
from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.features.program import folded
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings

PLAN: Final = plan_in_force(Settings.from_environment())
"""What ships, or what ``FRAUD_DECLARATIONS_FILE`` adds to it."""

KEYS: Final = ("user_id", "timestamp", "transaction_id")
COMPUTED: Final = [
    *(each.name for entity in PLAN.entities for each in folded(entity)),
    *(each.name for each in PLAN.expressions),
]
"""Every feature but those from labels, of which the benchmark has none."""

_time, _hour = pl.col("timestamp").dt, pl.col("hour_of_day")
DERIVED: Final = (
    _time.hour().cast(pl.Int8).alias("hour_of_day"),
    (_time.weekday() - 1).cast(pl.Int8).alias("day_of_week"),
    (pl.col("day_of_week") >= 5).cast(pl.Int8).alias("is_weekend"),
    ((_hour < 6) | (_hour > 22)).cast(pl.Int8).alias("is_night"),
    (pl.col("country_changed") * (pl.col("minutes_since_last") < 120)).cast(pl.Int8).alias("impossible_travel"),
)
"""The features without a history, as Polars has them."""

WINDOWS: Final = (3, 5, 10, 50)
SPANS: Final = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
USER: Final = "user_id"


def fold(connection: duckdb.DuckDBPyConnection) -> None:
    """One pass over each user's history, in shards of users on all cores."""
    connection.execute("SET memory_limit = '2GB'")  # else DuckDB keeps what it has written in memory
    changed: dict[str, History] = {}
    compiled = feature_plan(PLAN)
    prepared = prepare(_columns(connection), compiled)
    computed = fold_in_shards(prepared, empty_histories(compiled.programs), LabelEvents.nothing(PLAN.entities), changed)
    del prepared
    batches = (batch for features in computed for batch in _arrow(features.select(*KEYS, *COMPUTED)).to_batches())
    schema = _arrow(pl.DataFrame(schema=PLAN.feature_types).select(*KEYS, *COMPUTED)).schema
    connection.register("features_as_they_come", pa.RecordBatchReader.from_batches(schema, batches))
    connection.execute("CREATE TABLE features AS FROM features_as_they_come")


def _columns(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """The transactions, a column at a time, so that no more than one is in memory twice."""
    names = connection.sql("FROM source.transactions LIMIT 0").columns
    columns = (connection.sql(f'SELECT "{name}" FROM source.transactions').pl() for name in names)
    return pl.DataFrame([column.to_series().rechunk() for column in columns])


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.newest())


def floor(connection: duckdb.DuckDBPyConnection) -> None:
    """Sort, and write columns of the same types; compute no feature."""
    values = {"Float64": "(amount + {})::DOUBLE", "Int32": "(minute(timestamp) + {})::INTEGER"}
    filled = [
        f'{values.get(str(PLAN.features[name].dtype), "hour(timestamp)::TINYINT").format(k)} AS "{name}"'
        for k, name in enumerate(COMPUTED)
    ]
    connection.execute(
        f"CREATE TABLE features AS SELECT {', '.join([*KEYS, *filled])} FROM source.transactions "
        f"ORDER BY {', '.join(KEYS)}"
    )


def duckdb_windows(connection: duckdb.DuckDBPyConnection) -> None:
    """SQL window functions."""
    functions = {"mean": "avg", "std": "stddev_samp", "min": "min", "max": "max"}
    order = 'PARTITION BY user_id ORDER BY "timestamp"'
    reach = "RANGE BETWEEN INTERVAL {} MICROSECOND PRECEDING AND CURRENT ROW"
    reaches = {name: reach.format(span // timedelta(microseconds=1) - 1) for name, span in SPANS.items()}
    query = Path(__file__).with_name("features.sql").read_text()
    connection.execute(
        query.format(
            rolling=", ".join(
                f"{function}(amount) OVER last_{n} AS amount_rolling_{name}_{n}"
                for n in WINDOWS
                for name, function in functions.items()
            ),
            counts=", ".join(f"(count(*) OVER span_{name})::INTEGER AS tx_count_{name}" for name in SPANS),
            windows=", ".join(
                [f"last_{n} AS ({order}, transaction_id ROWS {n - 1} PRECEDING)" for n in WINDOWS]
                + [f"span_{name} AS ({order} {reaches[name]})" for name in SPANS]
            ),
            day=reaches["24h"],
            fortnight=reach.format(timedelta(days=14) // timedelta(microseconds=1) - 1),
            rows="",
        )
    )


def polars_by_group(connection: duckdb.DuckDBPyConnection) -> None:
    """Polars expressions with ``.over()``."""
    amount, count = pl.col("amount"), pl.lit(1).cast(pl.Int64)
    before = amount.shift(1)
    frame = _sorted(connection).with_columns(_one=count)
    expressions = [
        getattr(amount, f"rolling_{statistic}")(n, min_samples=1).over(USER).alias(f"amount_rolling_{statistic}_{n}")
        for n in WINDOWS
        for statistic in ("mean", "std", "min", "max")
    ]
    expressions += [
        pl.col("_one").rolling_sum_by("timestamp", span).over(USER).alias(f"tx_count_{name}")
        for name, span in SPANS.items()
    ]
    expressions += [amount.shift(k).over(USER).alias(f"amount_lag_{k}") for k in (1, 5, 10)]
    expressions += [
        pl.col("timestamp").diff().over(USER).alias("_gap"),
        (pl.col("country") != pl.col("country").shift(1)).over(USER).cast(pl.Int8).alias("country_changed"),
        (before.cum_sum() / before.cum_count()).over(USER).alias("_average"),
        before.rolling_mean(50, min_samples=1).over(USER).alias("_mean"),
        before.rolling_var(50, min_samples=1, ddof=0).over(USER).alias("_variance"),
        before.rolling_max(50, min_samples=1).over(USER).alias("_largest"),
        pl.col("_one").shift(1).rolling_sum(50, min_samples=1).over(USER).fill_null(0).alias("_n"),
        *(
            before.rolling_quantile(q, "linear", window_size=50, min_samples=1).over(USER).alias(f"_q{q}")
            for q in (0.25, 0.5, 0.75)
        ),
    ]
    frame = _profiled(frame.with_columns(expressions)).with_columns(
        pl.col("tx_count_24h").rolling_mean(5, min_samples=1).over(USER).alias("tx_count_rolling_mean_5"),
        (pl.col("_big").rolling_sum_by("timestamp", timedelta(days=14)).over(USER) - pl.col("_big")).alias(
            "user_big_14d"
        ),
    )
    _write(connection, _shared_counts(frame))


def polars_sorted(connection: duckdb.DuckDBPyConnection) -> None:
    """Polars on rows sorted by user, windows over one index that jumps between users, so that no window spans two."""
    frame = _sorted(connection).with_columns(_one=pl.lit(1).cast(pl.Int64))
    new = (pl.col(USER) != pl.col(USER).shift(1)).fill_null(True)
    far = timedelta(days=200) // timedelta(microseconds=1)
    frame = frame.with_columns(_user=new.cum_sum().cast(pl.Int64), _row=pl.int_range(pl.len())).with_columns(
        _index=pl.col("_row") + pl.col("_user") * 1000,
        _instant=(pl.col("timestamp").to_physical() - pl.col("timestamp").to_physical().min() + pl.col("_user") * far),
    )

    def same_user(values: pl.Expr, k: int) -> pl.Expr:
        return pl.when(pl.col("_user") == pl.col("_user").shift(k)).then(values)

    amount = pl.col("amount")
    expressions = [
        getattr(amount, f"rolling_{statistic}_by")("_index", f"{n}i").alias(f"amount_rolling_{statistic}_{n}")
        for n in WINDOWS
        for statistic in ("mean", "std", "min", "max")
    ]
    expressions += [
        pl.col("_one").rolling_sum_by("_instant", f"{span // timedelta(microseconds=1)}i").alias(f"tx_count_{name}")
        for name, span in SPANS.items()
    ]
    expressions += [same_user(amount.shift(k), k).alias(f"amount_lag_{k}") for k in (1, 5, 10)]
    before = amount.shift(1)
    expressions += [
        same_user(pl.col("timestamp").diff(), 1).alias("_gap"),
        same_user(pl.col("country") != pl.col("country").shift(1), 1).cast(pl.Int8).alias("country_changed"),
        (before.cum_sum() / before.cum_count()).over(USER).alias("_average"),
        amount.rolling_mean_by("_index", "50i", closed="left").alias("_mean"),
        amount.rolling_var_by("_index", "50i", closed="left", ddof=0).alias("_variance"),
        amount.rolling_max_by("_index", "50i", closed="left").alias("_largest"),
        pl.col("_one").rolling_sum_by("_index", "50i", closed="left").fill_null(0).alias("_n"),
        *(
            amount.rolling_quantile_by("_index", "50i", quantile=q, interpolation="linear", closed="left").alias(
                f"_q{q}"
            )
            for q in (0.25, 0.5, 0.75)
        ),
    ]
    fortnight = timedelta(days=14) // timedelta(microseconds=1)
    frame = _profiled(frame.with_columns(expressions)).with_columns(
        pl.col("tx_count_24h").rolling_mean_by("_index", "5i").alias("tx_count_rolling_mean_5"),
        (pl.col("_big").rolling_sum_by("_instant", f"{fortnight}i") - pl.col("_big")).alias("user_big_14d"),
    )
    _write(connection, _shared_counts(frame))


def _sorted(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    frame: pl.DataFrame = connection.sql("FROM source.transactions").pl()
    return frame.sort(*KEYS)


def _profiled(frame: pl.DataFrame) -> pl.DataFrame:
    amount, n, mean, median = (pl.col(name) for name in ("amount", "_n", "_mean", "_q0.5"))
    spread = (pl.col("_q0.75") - pl.col("_q0.25")) / 1.349
    shrunk = ((n * pl.col("_variance") + 5 * (0.5 * mean) ** 2) / (n + 5)).sqrt()
    return frame.with_columns(
        ((amount - mean) / (shrunk + 1)).fill_null(0.0).alias("user_z"),
        ((amount - median) / ((n * spread + 2.5 * median) / (n + 5) + 1)).fill_null(0.0).alias("user_rz"),
        ((amount + 1) / (median + 1)).log().fill_null(0.0).alias("user_log_ratio"),
        ((amount + 1) / (pl.col("_largest") + 1)).log().fill_null(0.0).alias("user_max_ratio"),
        (amount / pl.col("_average")).fill_nan(None).alias("amount_vs_avg"),
        (pl.col("_gap").dt.total_microseconds() / 60e6).alias("minutes_since_last"),
        (pl.col("_gap").dt.total_microseconds() / 86400e6).alias("days_since_last_tx"),
    ).with_columns((pl.col("user_z") > 4).cast(pl.Int64).alias("_big"))


def _shared_counts(frame: pl.DataFrame) -> pl.DataFrame:
    """The counts by device and merchant, back in the order of the users."""
    positions = frame.select("device_fingerprint", "merchant_id", "timestamp", "_one").with_row_index("_at")
    positions = positions.sort("timestamp").with_columns(
        pl.col("_one")
        .rolling_sum_by("timestamp", SPANS["24h"])
        .over("device_fingerprint")
        .alias("device_tx_count_24h"),
        pl.col("_one").rolling_sum_by("timestamp", SPANS["24h"]).over("merchant_id").alias("merchant_tx_count_24h"),
    )
    return frame.hstack(positions.sort("_at").select("device_tx_count_24h", "merchant_tx_count_24h"))


def _write(connection: duckdb.DuckDBPyConnection, frame: pl.DataFrame) -> None:
    types = {name: PLAN.features[name].dtype for name in COMPUTED}
    result = frame
    for each in DERIVED:
        result = result.with_columns(each)
    result = result.select(*KEYS, *(pl.col(name).cast(dtype) for name, dtype in types.items() if name in result))
    connection.register("result", result)
    connection.execute("CREATE TABLE features AS FROM result")


CONTENDERS: Final[dict[str, Callable[[duckdb.DuckDBPyConnection], None]]] = {
    "floor": floor,
    "fold": fold,
    "duckdb": duckdb_windows,
    "polars_sorted": polars_sorted,
    "polars_over": polars_by_group,
}
