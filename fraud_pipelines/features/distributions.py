"""How the values of a feature are distributed: summaries of a day that can be added up, instead of its rows.

A number's summary is the distinct values with the rows that have them, or, where they are too many, pieces of about
as many rows each, from a lowest to a highest value. A value that fills a piece by itself is one, so that ties stay
exact; within a piece rows are taken to lie evenly. A text's summary is its most frequent values.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

PIECES: Final = 256
"""Into so many pieces a day's numbers are cut; of texts so many are kept apart."""

_LARGEST: Final = 1e300
"""Infinity counts as this, so that pieces have a length."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Distribution:
    """Of some rows' values of a feature.

    Attributes:
        rows: how many there are.
        missing: how many of them have no value (null or NaN).
        low, high: of numbers, the ends of each piece; a piece of one value has it twice. Ascending by ``high``.
        texts: of texts, the values kept apart; None for numbers.
        counts: rows of each piece, or of each text. Texts that aren't kept apart are what is left of ``rows``.
    """

    rows: int
    missing: int
    low: Floats
    high: Floats
    counts: Ints
    texts: tuple[str, ...] | None = None

    @classmethod
    def of(cls, values: pl.Series, *, pieces: int | None = PIECES) -> Self:
        """The distribution of ``values``; exact, however many there are, without ``pieces``."""
        if values.dtype.is_numeric() or values.dtype == pl.Boolean:
            return cls._of_numbers(values.cast(pl.Float64).fill_null(float("nan")).to_numpy(), pieces)
        texts = values.cast(pl.String).rename("text").drop_nulls()
        counted = texts.value_counts(name="rows").sort(["rows", "text"], descending=[True, False])[:pieces]
        return cls(
            rows=len(values),
            missing=len(values) - len(texts),
            low=np.empty(0),
            high=np.empty(0),
            counts=counted["rows"].cast(pl.Int64).to_numpy(),
            texts=tuple(counted["text"]),
        )

    @classmethod
    def _of_numbers(cls, values: Floats, pieces: int | None) -> Self:
        present = np.clip(values[~np.isnan(values)], -_LARGEST, _LARGEST)
        distinct, counts = np.unique(present, return_counts=True)
        low = distinct
        if pieces and len(distinct) > pieces:
            heavy = counts * pieces >= len(present)
            place = (np.cumsum(counts) - counts) * pieces // len(present)
            begins = np.flatnonzero(np.concatenate(([True], (np.diff(place) > 0) | heavy[1:] | heavy[:-1])))
            low, counts = distinct[begins], np.add.reduceat(counts, begins)
            distinct = distinct[np.append(begins[1:], len(distinct)) - 1]
        return cls(len(values), len(values) - len(present), low, distinct, counts.astype(np.int64))

    @property
    def has_values(self) -> bool:
        """Whether any row has a value."""
        return self.missing < self.rows

    @property
    def varies(self) -> bool:
        """Whether two rows have different values."""
        values = len(self.texts) if self.texts is not None else len(np.unique((self.low, self.high)))
        return values > 1 or int(self.counts.sum()) + self.missing < self.rows

    def rows_up_to(self, values: Floats) -> Floats:
        """How many rows have a number of at most each of ``values``: exact between pieces."""
        if not len(self.counts):
            return np.zeros(len(values))
        ends = np.searchsorted(self.high, values, side="right")
        whole = np.append(0, np.cumsum(self.counts))[ends]
        inside = np.minimum(ends, len(self.counts) - 1)
        length = self.high[inside] - self.low[inside]
        begun = (ends < len(self.counts)) & (values >= self.low[inside]) & (length > 0)
        share = np.divide(values - self.low[inside], length, out=np.zeros(len(values)), where=begun)
        return whole + share * self.counts[inside]


@dataclass(frozen=True)
class Bins:
    """Bins to count the rows of distributions in, chosen by some of them.

    Numbers are cut at the ascending ``edges``, each the end of a bin; of texts each of ``texts`` is a bin, and the
    others share one. Missing values have a bin of their own, the last.
    """

    edges: Floats
    texts: tuple[str, ...] | None

    @classmethod
    def of(cls, parts: Sequence[Distribution], bins: int) -> Self:
        """About ``bins`` bins of as many rows each, by the rows of all ``parts``.

        A number that holds a bin's worth of rows or more by itself is a bin; where there are no more than ``bins``
        different ones each is. Of texts the ``bins`` - 1 most frequent are.
        """
        if any(part.texts is not None for part in parts):
            return cls(np.empty(0), _frequent_texts(parts)[: bins - 1])
        low, high, counts = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("low", "high", "counts")
        )
        if not len(high):
            return cls(high, None)
        order = np.argsort(high, kind="stable")
        up_to = np.cumsum(counts[order])
        # Quantiles that are values of the data: a mean of two would cut where nothing lies.
        places = np.searchsorted(up_to * bins, np.arange(1, bins) * up_to[-1])
        values, times = np.unique(high[order][places], return_counts=True)
        few = bool((low == high).all()) and len(np.unique(high)) <= bins
        with np.errstate(over="ignore"):
            return cls(np.unique(np.concatenate((values, np.nextafter(values[(times > 1) | few], -np.inf)))), None)

    def count(self, distribution: Distribution) -> Floats:
        """The rows of a distribution in each bin; broken numbers where a bin ends within a piece."""
        if self.texts is None:
            present = distribution.rows - distribution.missing
            up_to = np.concatenate(([0], distribution.rows_up_to(self.edges), [present]))
            return np.append(np.diff(up_to), distribution.missing)
        of_text = dict(zip(distribution.texts or (), distribution.counts.tolist(), strict=True))
        kept = [of_text.get(text, 0) for text in self.texts]
        others = distribution.rows - distribution.missing - sum(kept)
        return np.array([*kept, others, distribution.missing], dtype=np.float64)


def _frequent_texts(parts: Sequence[Distribution]) -> tuple[str, ...]:
    counted: Counter[str] = Counter()
    for part in parts:
        counted.update(dict(zip(part.texts or (), part.counts.tolist(), strict=True)))
    return tuple(sorted(counted, key=lambda text: (-counted[text], text)))
