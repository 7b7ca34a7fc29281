"""Feature encoding: from a frame with numbers, ids, categories and flags to the matrix a detector sees."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from fraud_pipelines.detection.schema import FeatureRole, Schema, SchemaLike, parse_schema
from fraud_pipelines.errors import InvalidInput

FloatArray = NDArray[np.float64]
_Flags = NDArray[np.bool_]
_Scales = tuple[FloatArray, FloatArray, FloatArray, _Flags, FloatArray, FloatArray, _Flags]

LIMIT: Final = 1e6
"""Encoded numbers end here, in robust spreads: infinity, and whatever else is that far out."""

HASH_RANGE: Final = 1_000_000

_PLAIN_NUMBERS: Final = frozenset((float, int, bool, type(None)))

_IQR_OF_NORMAL: Final = 1.349


class FeatureEncoding(BaseModel):
    """What was learned of one feature: everything `FeatureEncoder.transform` needs to know about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    feature: FeatureRole
    missing: float
    """What stands in for a missing value: the training median, or the code of an unseen category, or false."""
    center: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeatureEncoder:
    """Turns the columns of a schema into a float64 matrix, in the schema's order.

    - numeric: (x − median) / (IQR / 1.349); where the IQR is 0, the standard deviation, and where that is 0
      too, 1. Direction ``high`` then cuts at 0 from below, so that unusually small values don't alarm;
      ``low`` is mirrored first. Missing is the median. Values end at ±`LIMIT`, infinite ones too.
    - hash: the first 8 hex digits of the id's MD5 modulo 1,000,000, scaled like a number. Missing is the median.
    - label: 1..n in sorted order; a value unseen in training, or missing, is 0, a code no known value has.
    - binary: 1 where Python would call the value true, else 0; missing is 0.
    """

    encodings: tuple[FeatureEncoding, ...]

    @classmethod
    def fit(cls, frame: pl.DataFrame, schema: SchemaLike) -> Self:
        """Learn medians, spreads and categories from the training rows.

        Raises:
            InvalidInput: a column of the schema is missing or can't be read in its role.
        """
        parsed = parse_schema(schema)
        _require_columns(frame, list(parsed))
        return cls(tuple(_fit_feature(frame[name], role) for name, role in parsed.items()))

    def transform(self, frame: pl.DataFrame) -> FloatArray:
        """The matrix of shape (rows, features), without a missing or infinite value.

        Raises:
            InvalidInput: a column of the schema is missing or can't be read in its role.
        """
        _require_columns(frame, self.names)
        columns = frame.select(self.names)
        if self._all_numbers and all(dtype.is_numeric() or dtype == pl.Boolean for dtype in columns.dtypes):
            return self._scaled(columns.cast(pl.Float64).to_numpy(order="c", writable=True))
        matrix = np.empty((frame.height, len(self.encodings)), dtype=np.float64)
        for column, encoding in enumerate(self.encodings):
            matrix[:, column] = _as_code(columns[encoding.name], encoding)
        return self._scaled(matrix)

    def transform_row(self, row: Mapping[str, object]) -> FloatArray:
        """`transform` of one row, given as its features by name; shape (1, features). Numbers and flags take no detour.

        Raises:
            InvalidInput: a feature is missing or can't be read in its role.
        """
        try:
            values = [row[name] for name in self.names]
        except KeyError:
            _require_columns(pl.DataFrame(schema=list(row)), self.names)
            raise
        if not self._all_numbers or not _PLAIN_NUMBERS.issuperset(map(type, values)):
            values = [self._number(*each) for each in zip(self.encodings, values, strict=True)]
        return self._scaled(np.array([values], dtype=np.float64))

    @cached_property
    def names(self) -> list[str]:
        """The features, in the order of the matrix's columns."""
        return [encoding.name for encoding in self.encodings]

    @cached_property
    def schema(self) -> Schema:
        """The schema it was fitted with."""
        return {encoding.name: encoding.feature for encoding in self.encodings}

    @cached_property
    def _all_numbers(self) -> bool:
        """Whether there are but numbers and flags."""
        return all(encoding.feature.role in ("numeric", "binary") for encoding in self.encodings)

    @staticmethod
    def _number(encoding: FeatureEncoding, value: object) -> object:
        """`_as_code` of one value; what is a number already, or missing, as it is."""
        if encoding.feature.role in ("numeric", "binary") and (value is None or isinstance(value, int | float)):
            return value
        return _as_code(pl.Series(encoding.name, [value]), encoding)[0]

    def _scaled(self, codes: FloatArray) -> FloatArray:
        """The matrix of codes with what is missing filled in, and numbers and hashes scaled; in place."""
        from fraud_pipelines.detection.kernels import scale_columns

        scale_columns(codes, *self._scales)
        return codes

    @cached_property
    def _scales(self) -> _Scales:
        """What `kernels.scale_columns` needs of each column."""
        as_they_are = [encoding.feature.role in ("label", "binary") for encoding in self.encodings]
        directions = [encoding.feature.direction for encoding in self.encodings]
        lower = np.where([direction == "both" for direction in directions], -LIMIT, 0.0)
        return (
            np.array([encoding.missing for encoding in self.encodings]),
            np.array([encoding.center for encoding in self.encodings]),
            np.array([encoding.scale for encoding in self.encodings]),
            np.array([direction == "low" for direction in directions], dtype=np.bool_) & ~np.array(as_they_are),
            np.where(as_they_are, -np.inf, lower),
            np.where(as_they_are, np.inf, LIMIT),
            np.array([encoding.feature.role == "binary" for encoding in self.encodings], dtype=np.bool_),
        )

    def to_json(self) -> list[dict[str, object]]:
        """Plain JSON values; floats keep every bit."""
        return [encoding.model_dump(mode="json") for encoding in self.encodings]

    @classmethod
    def from_json(cls, values: Sequence[Mapping[str, object]]) -> Self:
        """The encoder that `to_json` described."""
        return cls(tuple(FeatureEncoding.model_validate(value) for value in values))


def _require_columns(frame: pl.DataFrame, names: list[str]) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InvalidInput(
            f"The frame lacks the feature column(s) {', '.join(missing)}, which the model's schema names. "
            "Compute the features for these rows, or train with a schema without them."
        )


def _fit_feature(values: pl.Series, feature: FeatureRole) -> FeatureEncoding:
    name = values.name
    match feature.role:
        case "label":
            categories = tuple(_as_text(values).drop_nulls().unique().sort().to_list())
            return FeatureEncoding(name=name, feature=feature, missing=0.0, categories=categories)
        case "binary":
            return FeatureEncoding(name=name, feature=feature, missing=0.0)
        case "hash":
            center, scale = _location_and_spread(_hash_codes(values))
        case "numeric":
            center, scale = _location_and_spread(_as_numbers(values))
    return FeatureEncoding(name=name, feature=feature, missing=center, center=center, scale=scale)


def _as_code(values: pl.Series, encoding: FeatureEncoding) -> FloatArray:
    """The values as numbers that are not scaled yet, NaN for a missing number or id."""
    match encoding.feature.role:
        case "label":
            codes = {category: code for code, category in enumerate(encoding.categories, start=1)}
            return _as_text(values).replace_strict(codes, default=0, return_dtype=pl.Float64).to_numpy()
        case "binary":
            return _truth(values)
        case "hash":
            return _hash_codes(values)
        case "numeric":
            return _as_numbers(values)


def _location_and_spread(numbers: FloatArray) -> tuple[float, float]:
    """Median and IQR / 1.349 of the finite values; for a constant column the spread is 1."""
    known = np.isfinite(numbers)
    finite = numbers if known.all() else numbers[known]
    if not finite.size:
        return 0.0, 1.0
    # In units of the largest value, so that differences and squares of huge values stay finite.
    unit = float(max(finite.max(), -finite.min()))
    if unit == 0:
        return 0.0, 1.0
    low, median, high = quartiles(finite, unit)
    spread = (high - low) / _IQR_OF_NORMAL or float(np.std(finite / unit))
    return median * unit, min(spread * unit, float(np.finfo(np.float64).max)) or 1.0


def quartiles(values: FloatArray, unit: float) -> tuple[float, float, float]:
    """``np.quantile(values / unit, [0.25, 0.5, 0.75])`` to the bit, in a third of the time.

    To divide keeps the order, so that only the values beside the quartiles have to be divided.
    """
    places = (values.size - 1) * np.array([0.25, 0.5, 0.75])
    before = np.floor(places).astype(np.int64)
    after = np.minimum(before + 1, values.size - 1)
    ordered = np.partition(values, np.unique(np.concatenate((before, after))))
    low, high, weight = ordered[before] / unit, ordered[after] / unit, places - before
    step = high - low
    first, second, third = np.where(weight < 0.5, low + step * weight, high - step * (1 - weight)).tolist()
    return first, second, third


def _as_numbers(values: pl.Series) -> FloatArray:
    """Float64 with NaN for missing."""
    try:
        numbers: FloatArray = values.cast(pl.Float64, strict=True).to_numpy()
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(
            f"Feature {values.name!r} has the type {values.dtype} and values that are no numbers. "
            "Give it the role hash, label or binary, or a numeric column."
        ) from error
    return numbers


def _as_text(values: pl.Series) -> pl.Series:
    """Text; a whole number reads alike whether it comes as 7 or, as pandas has it beside missing ones, as 7.0."""
    try:
        if values.dtype.is_float():
            is_whole = (values == values.round(0)) & (values.abs() < 2**53)
            whole = values.set(~is_whole.fill_null(value=False), None).cast(pl.Int64).cast(pl.String)
            return whole.zip_with(whole.is_not_null(), values.fill_nan(None).cast(pl.String))
        return values.cast(pl.String)
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(
            f"Feature {values.name!r} has the type {values.dtype}, which can't be read as a label or an id."
        ) from error


def _hash_codes(values: pl.Series) -> FloatArray:
    """First 8 hex digits of MD5 modulo 1,000,000, the same in every process; NaN for missing."""
    texts = _as_text(values)
    codes = {
        text: int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8], 16) % HASH_RANGE
        for text in texts.unique().drop_nulls()
    }
    if not codes:
        return np.full(len(values), np.nan)
    return texts.replace_strict(codes, default=None, return_dtype=pl.Float64).to_numpy()


def _truth(values: pl.Series) -> FloatArray:
    if values.dtype == pl.String or values.dtype.is_nested() or values.dtype in (pl.Categorical, pl.Enum):
        true = _as_text(values).str.len_bytes() > 0
    elif values.dtype == pl.Boolean:
        true = values
    else:
        numbers = _as_numbers(values)
        return np.where(np.isnan(numbers), 0.0, numbers != 0).astype(np.float64)
    return true.fill_null(value=False).cast(pl.Float64).to_numpy()
