"""Ids made of rows: a hash of a row's content, and which of the equal rows of its file it is.

A file that comes again with further rows gives those it had before the ids that they had.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.transactions.records import RecordChunk


@dataclass
class EqualRows:
    """How many rows of each content a file has had so far, by 64 bits of their hash: 16 bytes for each."""

    _contents: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def count(self, contents: NDArray[np.uint64]) -> NDArray[np.int64]:
        """For each row the number of those equal to it so far, itself included."""
        found, first_of, rows = np.unique(contents, return_inverse=True, return_counts=True)
        order = np.argsort(first_of, kind="stable")
        starts = np.cumsum(rows) - rows
        within = np.empty(len(contents), np.int64)
        within[order] = np.arange(len(contents)) - np.repeat(starts, rows) + 1
        places = np.searchsorted(self._contents, found)
        known = np.zeros(len(found), np.bool_)
        inside = places < len(self._contents)
        known[inside] = self._contents[places[inside]] == found[inside]
        before = np.zeros(len(found), np.int64)
        before[known] = self._counts[places[known]]
        self._counts[places[known]] += rows[known]
        self._contents = np.insert(self._contents, places[~known], found[~known])
        self._counts = np.insert(self._counts, places[~known], rows[~known])
        return within + before[first_of]


def with_row_ids(chunks: Iterable[RecordChunk]) -> Iterator[RecordChunk]:
    """The chunks of one file, in order and complete, each row with its id."""
    equal_rows = EqualRows()
    for chunk in chunks:
        yield replace(chunk, row_ids=_ids(chunk, equal_rows))


def row_ids(chunk: RecordChunk) -> pl.Series:
    """The ids of a chunk's rows; of one that stands alone, as if it were a whole file."""
    return _ids(chunk, EqualRows()) if chunk.row_ids is None else chunk.row_ids


def _ids(chunk: RecordChunk, equal_rows: EqualRows) -> pl.Series:
    payloads = chunk.payloads(pl.int_range(chunk.fields.height, eager=True))
    digests = [hashlib.sha256(text.strip().encode()).digest() for text in payloads]
    contents = np.frombuffer(b"".join(digest[:8] for digest in digests), dtype=">u8").astype(np.uint64)
    counts = equal_rows.count(contents)
    ids = [f"{digest[:16].hex()}-{count}" for digest, count in zip(digests, counts.tolist(), strict=True)]
    return pl.Series("row_id", ids, dtype=pl.String)
