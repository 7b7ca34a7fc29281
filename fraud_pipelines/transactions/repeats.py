"""Repeats: what is delivered again counts once, and what contradicts the first delivery is set aside."""

from collections.abc import Sequence

import polars as pl

_FIRST = ":first"


def repeat_reasons(
    rows: pl.DataFrame, stored: pl.DataFrame, *, key: Sequence[str], content: Sequence[str], noun: str
) -> pl.Series:
    """Why a row can't be stored, null for the first with its key.

    The first is what ``stored`` has under that key, or else the earliest of ``rows``. Who equals it in
    ``content`` is a ``duplicate``, who doesn't a ``conflict``; null equals null.

    Args:
        rows: in the order in which they were delivered.
        stored: at most one row a key.
        key: columns that identify a row.
        content: the other columns that matter.
        noun: what a row is called in the reason.
    """
    none = pl.repeat(None, rows.height, dtype=pl.String, eager=True).alias("reason")
    if stored.is_empty() and rows.select(pl.struct(key).is_unique().all()).item():
        return none
    columns = [*key, *content]
    new = rows.select(columns).with_row_index("row")
    firsts = new.unique(key, keep="first", maintain_order=True).join(stored, on=key, how="anti", nulls_equal=True)
    kept = stored.select(pl.lit(None, dtype=pl.get_index_type()).alias("row"), *columns)
    pairs = new.join(pl.concat([kept, firsts]), on=key, how="left", suffix=_FIRST, maintain_order="left")
    differing = [pl.when(pl.col(name).ne_missing(pl.col(name + _FIRST))).then(pl.lit(name)) for name in content]
    difference = pl.concat_str(differing, separator=", ", ignore_nulls=True)
    conflict = pl.format(f"conflict: another {{}} than the {noun} stored first", difference)
    return pairs.select(
        pl.when(pl.col("row").ne_missing(pl.col("row" + _FIRST)))
        .then(
            pl.when(difference != "")
            .then(conflict)
            .otherwise(pl.lit(f"duplicate: identical to the {noun} stored first"))
        )
        .alias("reason")
    ).to_series()
