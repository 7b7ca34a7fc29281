"""Training: which days a daily model learns from, and a fingerprint that says whether it would learn the same."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import polars as pl

from fraud_pipelines.detection.backends import backend_by_name, parse_parameters
from fraud_pipelines.detection.calibration import Normalization
from fraud_pipelines.detection.detectors.interface import Parameters
from fraud_pipelines.detection.schema import SchemaLike, parse_schema
from fraud_pipelines.errors import InvalidInput, MissingData

DETECTION_VERSION: Final = "1"
"""Raised when the same training rows and settings would give another model."""


@dataclass(frozen=True)
class TrainingWindow:
    """The days a model is trained on, ascending; ``bootstrap`` if the day it is to score is among them."""

    days: tuple[date, ...]
    bootstrap: bool


def training_window(
    day: date, days_available: Collection[date], *, training_days: int, min_training_days: int
) -> TrainingWindow:
    """The days that the model of ``day`` learns from.

    They are those of the trailing ``training_days`` before ``day`` that have data. With fewer than
    ``min_training_days`` of them the model is trained in-sample: on those and ``day`` itself.

    Raises:
        MissingData: there is no data at all, up to and including the day.
    """
    first = day - timedelta(days=training_days)
    before = tuple(sorted(d for d in set(days_available) if first <= d < day))
    if len(before) >= min_training_days:
        return TrainingWindow(before, bootstrap=False)
    in_sample = before + ((day,) if day in days_available else ())
    if not in_sample:
        raise MissingData(
            f"No features are stored for {day} or the {training_days} days before it, so no model can be trained. "
            "Import the transactions of these days and compute their features first."
        )
    return TrainingWindow(in_sample, bootstrap=day in in_sample)


def training_fingerprint(
    frame: pl.DataFrame,
    *,
    backend: str,
    schema: SchemaLike,
    contamination: float,
    parameters: Parameters | Mapping[str, object] | None = None,
    seed: int = 0,
    normalization: Normalization = "tail",
    feature_version: str = "",
    rows: int | None = None,
) -> str:
    """SHA-256 of all that decides what a model becomes: the same in any process and for any order of the rows.

    Args:
        frame: the training rows, with ``transaction_id`` and the schema's columns; other columns don't count.
        backend, schema, contamination, parameters, seed, normalization, feature_version: as for `FraudModel.fit`.
        rows: of how many rows ``frame`` is a sample; those of ``frame`` if None.

    Raises:
        InvalidInput: a column is missing, or a parameter is invalid.
    """
    parsed = parse_schema(schema)
    columns = ["transaction_id", *parsed]
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise InvalidInput(f"The training rows lack the column(s) {', '.join(missing)}.")
    unread = None if backend_by_name(backend).reads_groups else {"group"}
    settings = {
        "detection_version": DETECTION_VERSION,
        "feature_version": feature_version,
        "backend": backend,
        "parameters": parse_parameters(backend, parameters).model_dump(mode="json"),
        "schema": [[name, feature.model_dump(mode="json", exclude=unread)] for name, feature in parsed.items()],
        "contamination": contamination,
        "seed": seed,
        "normalization": normalization,
        "rows": frame.height if rows is None else rows,
    }
    return _rows_hash(frame, columns, begin=json.dumps(settings, sort_keys=True)).hexdigest()


def rows_digest(frame: pl.DataFrame, features: Iterable[str]) -> str:
    """The first 16 digits of a SHA-256 of the rows' ids and ``features``, in any order of the rows."""
    return _rows_hash(frame, ["transaction_id", *features]).hexdigest()[:16]


def _rows_hash(frame: pl.DataFrame, columns: Sequence[str], begin: str = "") -> "hashlib._Hash":
    digest = hashlib.sha256(begin.encode())
    # A supervised model may be anchored on rows that it was trained on: these stay in their order.
    ordered = frame.select(columns).sort("transaction_id", maintain_order=True)
    for name in columns:
        digest.update(name.encode() + b"\0" + _bytes(ordered[name]))
    return digest


def _bytes(values: pl.Series) -> bytes:
    """The content of a column, whatever its chunks and how its nulls are stored."""
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return np.where(np.isnan(numbers), np.nan, numbers).tobytes()
    texts = values.cast(pl.String)
    lengths = texts.str.len_bytes().cast(pl.Int64).fill_null(-1).to_numpy()
    return lengths.tobytes() + "".join(texts.fill_null("").to_list()).encode()
