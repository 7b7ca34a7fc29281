"""Feature encoding: every role, whatever the values, gives finite numbers, and the same ones tomorrow."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.detection.encoding import LIMIT, FeatureEncoder, FeatureEncoding, quartiles
from fraud_pipelines.detection.schema import FeatureRole
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.types import Direction
from fraud_pipelines_tests.detection.samples import MIXED_SCHEMA, mixed_rows
from fraud_pipelines_tests.examples import examples


def encode(
    values: Sequence[object], role: str | FeatureRole, *, fitted_on: Sequence[object] | None = None
) -> list[float]:
    """One column, fitted and transformed."""
    train = pl.DataFrame({"x": values if fitted_on is None else fitted_on}, strict=False)
    encoded = FeatureEncoder.fit(train, {"x": role}).transform(pl.DataFrame({"x": values}, strict=False))
    return [float(value) for value in encoded[:, 0]]


def test_numbers_are_scaled_by_median_and_iqr() -> None:
    assert encode([0.0, 1.0, 2.0, 3.0, 4.0], "numeric") == pytest.approx([-1.349, -0.6745, 0, 0.6745, 1.349])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
@examples(100)
def test_quartiles_are_those_of_numpy_to_the_bit(values: list[float]) -> None:
    numbers = np.array(values)
    unit = float(np.abs(numbers).max()) or 1.0

    assert list(quartiles(numbers, unit)) == np.quantile(numbers / unit, [0.25, 0.5, 0.75]).tolist()


def test_direction_high_ignores_unusually_small_values() -> None:
    high = FeatureRole(role="numeric", direction="high")
    assert encode([0.0, 1.0, 2.0, 3.0, 4.0], high) == pytest.approx([0, 0, 0, 0.6745, 1.349])


def test_direction_low_is_mirrored() -> None:
    low = FeatureRole(role="numeric", direction="low")
    assert encode([0.0, 1.0, 2.0, 3.0, 4.0], low) == pytest.approx([1.349, 0.6745, 0, 0, 0])


def test_a_model_that_was_stored_before_there_were_groups_loads() -> None:
    [stored] = FeatureEncoder.fit(pl.DataFrame({"x": [1.0, 2.0]}), {"x": "numeric"}).to_json()
    assert isinstance(stored["feature"], dict)
    del stored["feature"]["group"]
    assert FeatureEncoder.from_json([stored]).schema == {"x": FeatureRole(role="numeric")}


def test_a_missing_number_counts_as_the_median() -> None:
    assert encode([None, float("nan")], "numeric", fitted_on=[1.0, 5.0, 9.0, None]) == [0.0, 0.0]


def test_infinite_numbers_end_at_the_limit() -> None:
    assert encode([float("inf"), float("-inf"), 1e300], "numeric", fitted_on=[1.0, 2.0, 3.0]) == [LIMIT, -LIMIT, LIMIT]


@pytest.mark.parametrize("constant", [0.0, 7.5, -3.0])
def test_a_constant_column_encodes_to_zero(constant: float) -> None:
    assert encode([constant] * 4, "numeric") == [0.0] * 4


def test_a_mostly_constant_column_keeps_its_rare_values_apart() -> None:
    encoded = encode([0.0] * 99 + [1.0], "numeric")
    assert encoded[0] == 0.0
    assert 5 < encoded[-1] < 20


def test_a_column_without_any_value_encodes_to_zero() -> None:
    assert encode([None, None], "numeric") == [0.0, 0.0]
    assert encode([None, None], "label") == [0.0, 0.0]
    assert encode([None, None], "hash") == [0.0, 0.0]
    assert encode([None, None], "binary") == [0.0, 0.0]


def test_hash_is_md5_modulo_a_million() -> None:
    train = ["a", "b", "c"]
    codes = [int(hashlib.md5(text.encode()).hexdigest()[:8], 16) % 1_000_000 for text in train]
    expected = encode([float(code) for code in codes], "numeric")
    assert encode(train, "hash") == pytest.approx(expected)


def test_a_hash_stays_what_it_was_in_earlier_versions() -> None:
    encoding = FeatureEncoding(name="x", feature=FeatureRole(role="hash"), missing=0.0, center=0.0, scale=1.0)
    encoded = FeatureEncoder((encoding,)).transform(pl.DataFrame({"x": ["m1", "Zoë", ""]}))
    assert encoded[:, 0].tolist() == [354476.0, 582579.0, 706393.0]


@pytest.mark.parametrize("role", ["label", "hash"])
def test_whole_numbers_are_the_same_ids_whether_they_come_as_integers_or_floats(role: str) -> None:
    encoder = FeatureEncoder.fit(pl.DataFrame({"x": [5411, 5812, 7995, 7995]}), {"x": role})
    as_integers = encoder.transform(pl.DataFrame({"x": [5812, 7995, None]}))
    as_floats = encoder.transform(pl.DataFrame({"x": [5812.0, 7995.0, None]}))
    from_pandas = encoder.transform(pl.DataFrame({"x": [5812.0, 7995.0, float("nan")]}))
    as_text = encoder.transform(pl.DataFrame({"x": ["5812", "7995", None]}))
    for encoded in (as_floats, from_pandas, as_text):
        np.testing.assert_array_equal(encoded, as_integers)
    assert encode([1.5, 2.0, float("inf")], "label", fitted_on=[1.5, 2.0]) == [1.0, 2.0, 0.0]


def test_what_stands_in_for_a_missing_value_is_written_in_the_model() -> None:
    encoder = FeatureEncoder.fit(
        pl.DataFrame({"x": [1.0, 5.0, 9.0], "y": ["a", "b", "c"]}), {"x": "numeric", "y": "label"}
    )
    assert [value["missing"] for value in encoder.to_json()] == [5.0, 0.0]


def test_labels_are_numbered_in_sorted_order_and_unseen_ones_are_zero() -> None:
    assert encode(["US", "DE", "XX", None], "label", fitted_on=["US", "FR", "DE", "DE"]) == [3.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, False, None], [1, 0, 0]),
        ([2, 0, None], [1, 0, 0]),
        ([0.5, 0.0, float("nan")], [1, 0, 0]),
        (["yes", "", None], [1, 0, 0]),
    ],
)
def test_binary_is_truth_as_in_python(values: list[object], expected: list[float]) -> None:
    assert encode(values, "binary") == expected


def test_a_missing_column_is_named() -> None:
    encoder = FeatureEncoder.fit(mixed_rows(10), MIXED_SCHEMA)
    with pytest.raises(InvalidInput, match=r"lacks the feature column\(s\) country"):
        encoder.transform(mixed_rows(10).drop("country"))


def test_text_in_a_numeric_feature_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"'amount'.*String.*no numbers"):
        FeatureEncoder.fit(pl.DataFrame({"amount": ["twelve"]}), {"amount": "numeric"})


def test_the_description_brings_back_the_same_encoder() -> None:
    rows = mixed_rows(200)
    encoder = FeatureEncoder.fit(rows, MIXED_SCHEMA)
    restored = FeatureEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert restored == encoder
    np.testing.assert_array_equal(restored.transform(rows), encoder.transform(rows))


any_number = st.one_of(st.none(), st.floats(), st.integers(-5, 5).map(float))


@given(
    train=st.lists(any_number, min_size=1, max_size=20),
    rows=st.lists(any_number, min_size=1, max_size=20),
    direction=st.sampled_from(["high", "low", "both"]),
)
@examples(200)
def test_any_number_encodes_finitely_within_the_limit_and_in_order(
    train: list[float | None], rows: list[float | None], direction: str
) -> None:
    role = FeatureRole.model_validate({"role": "numeric", "direction": direction})
    encoded = np.array(encode(rows, role, fitted_on=train))
    assert np.isfinite(encoded).all()
    assert (np.abs(encoded) <= LIMIT).all()
    known = np.array([row is not None and not np.isnan(row) for row in rows])
    order = np.argsort(np.array([row if row is not None else 0.0 for row in rows])[known], kind="stable")
    steps = np.diff(encoded[known][order])
    assert (steps <= 0).all() if direction == "low" else (steps >= 0).all()


@pytest.mark.parametrize("direction", ["high", "low", "both"])
@given(value=st.none() | st.floats() | st.integers(-(2**60), 2**60))
def test_one_row_is_encoded_to_the_bit_as_among_others(direction: Direction, value: float | None) -> None:
    training = pl.DataFrame({"x": [1.0, 2.5, 4.0, 1e9, None]})
    encoder = FeatureEncoder.fit(training, {"x": FeatureRole(role="numeric", direction=direction)})
    among = encoder.transform(pl.DataFrame({"x": [1.0, value]}, schema={"x": pl.Float64}, strict=False))[1:]
    assert encoder.transform_row({"x": value}).tobytes() == among.tobytes()


@given(value=st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, -0.0, 0.5, float("nan")]))
def test_a_flag_of_one_row_is_encoded_as_among_others(value: float | None) -> None:
    encoder = FeatureEncoder.fit(pl.DataFrame({"x": [1, 0, None]}), {"x": FeatureRole(role="binary")})
    among = encoder.transform(pl.DataFrame({"x": pl.Series([1.0, value], dtype=pl.Float64, strict=False)}))[1:]
    assert encoder.transform_row({"x": value}).tobytes() == among.tobytes()
