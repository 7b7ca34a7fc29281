"""A detector of groups: each judged by itself, what frauds show decides how much it counts, and all of it is frozen."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.detection.detectors.grouped import GroupedDetector
from fraud_pipelines.detection.detectors.tails import Anchor, TailsDetector
from fraud_pipelines.detection.distribution import TrainingDistribution
from fraud_pipelines.detection.groups import Grouping
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import FeatureRole
from fraud_pipelines_tests.examples import examples

ROWS = 3_000
HIGH = {"role": "numeric", "direction": "high"}
SCHEMA = {
    "amount": FeatureRole.model_validate(HIGH | {"group": "amount"}),
    "user_z": FeatureRole.model_validate(HIGH | {"group": "amount"}),
    "count_1h": FeatureRole.model_validate(HIGH | {"group": "velocity"}),
    "count_24h": FeatureRole.model_validate(HIGH | {"group": "velocity"}),
    "hour": FeatureRole(role="numeric", group="time"),
    "is_new": FeatureRole(role="binary", group="novelty"),
}
PRIMARY = frozenset({"amount"})
BACKENDS = ("isolation_forest", "suod", "ecod")


def rows(count: int = ROWS, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    recent = rng.poisson(0.3, count)
    return pl.DataFrame(
        {
            "amount": rng.lognormal(3, 1, count),
            "user_z": rng.standard_t(4, count),
            "count_1h": recent,
            "count_24h": recent + rng.poisson(2, count),
            "hour": np.clip(rng.normal(14, 3, count), 0, 23).astype(int),
            "is_new": rng.random(count) < 0.1,
        }
    )


def model(backend: str = "ecod", frauds: pl.DataFrame | None = None) -> FraudModel:
    shown = rows().head(0) if frauds is None else frauds
    return FraudModel.fit(rows(), backend=backend, schema=SCHEMA, groups=Grouping(PRIMARY, shown))


def ordinary(**values: object) -> pl.DataFrame:
    usual = {"amount": 20.0, "user_z": 0.0, "count_1h": 0, "count_24h": 2, "hour": 14, "is_new": False}
    return pl.DataFrame([usual | values], schema=rows().schema)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_attack_in_one_small_group_is_an_anomaly_although_no_other_feature_is_unusual(backend: str) -> None:
    grouped = model(backend)
    together = FraudModel.fit(rows(), backend=backend, schema=SCHEMA)
    burst = ordinary(count_1h=40, count_24h=42)
    assert grouped.score(burst)["is_anomaly"].item()
    assert grouped.explain(burst)["feature"][0] in ("count_1h", "count_24h")
    assert grouped.score(burst)["score"].item() >= together.score(burst)["score"].item()
    assert not grouped.score(ordinary())["is_anomaly"].item()
    # The share of alerts on fresh ordinary traffic is what it was told.
    assert grouped.score(rows(seed=1))["is_anomaly"].mean() == pytest.approx(0.01, abs=0.006)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_saved_scores_alike_row_by_row_and_together(backend: str, tmp_path: Path) -> None:
    fitted = model(backend, frauds=rows(30, seed=5).with_columns(hour=pl.lit(3, pl.Int64)))
    fresh = pl.concat([rows(200, seed=2), ordinary(count_1h=40), ordinary(amount=1e7), ordinary(hour=3, user_z=None)])
    loaded = FraudModel.load(tmp_path / "model", digest=fitted.save(tmp_path / "model"))
    scores = fitted.score(fresh)
    assert loaded.grouped
    assert loaded.score(fresh).equals(scores)
    assert [loaded.score_row(row) for row in fresh.iter_rows(named=True)] == scores["score"].to_list()
    assert pl.concat([fitted.score(fresh[place]) for place in range(0, fresh.height, 29)]).equals(scores[::29])
    contributions = loaded.contributions(fresh)
    np.testing.assert_allclose(contributions.raw_scores, scores["raw_score"], rtol=1e-12)


def test_known_frauds_say_which_group_counts() -> None:
    rng = np.random.default_rng(4)
    at_night = rows(40, seed=3).with_columns(hour=pl.Series(rng.integers(1, 4, 40)))
    before, after = model(), model(frauds=at_night)
    fraud, large = ordinary(hour=2), ordinary(amount=400.0)
    gained = [fitted.score(fraud)["score"].item() - fitted.score(large)["score"].item() for fitted in (before, after)]
    assert gained[0] < 0 < gained[1]
    assert isinstance(after.detector, GroupedDetector)
    shares = {group.name: group.share for group in after.detector.groups}
    assert max(shares, key=lambda name: shares[name]) == "time"
    assert 0.8 < sum(shares.values()) < 1


def test_frauds_that_look_like_anybody_teach_nothing_that_costs() -> None:
    """The mixture may not take noise for a kind of fraud: the prior's order of an outlier and an ordinary row stays."""
    misled = model(frauds=rows(60, seed=9))
    assert misled.score(ordinary(amount=5_000.0))["score"].item() > 0.5
    assert misled.score(ordinary(count_1h=40, count_24h=42))["score"].item() > 0.5
    assert misled.score(ordinary())["score"].item() < 0.1


def test_groups_change_nothing_where_a_model_is_fitted_without_them() -> None:
    plain = {name: FeatureRole(role=role.role, direction=role.direction) for name, role in SCHEMA.items()}
    for backend in BACKENDS:
        one = FraudModel.fit(rows(), backend=backend, schema=SCHEMA)
        assert one.score(rows(100, seed=1)).equals(
            FraudModel.fit(rows(), backend=backend, schema=plain).score(rows(100, seed=1))
        )
        assert not one.grouped


@given(
    scores=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    asked=st.lists(st.floats(-2e6, 2e6), min_size=2, max_size=20),
)
@examples(60)
def test_an_anchor_never_falls_as_the_score_rises_and_counts_the_training_rows(
    scores: list[float], asked: list[float]
) -> None:
    from fraud_pipelines.detection.kernels import anchored_surprises

    training = np.array(scores)
    anchor = Anchor.fit(training)
    ordered = np.sort(np.array(asked))
    found = anchored_surprises(ordered, anchor.values, anchor.at_least, anchor.rows, anchor.excess)
    assert (np.diff(found) >= 0).all()
    for score, surprise in zip(ordered, found, strict=True):
        if score <= training.max():
            assert np.exp(-surprise) == pytest.approx(((training >= score).sum() + 1) / (training.size + 1))


def test_an_anchor_of_many_rows_is_small_and_off_by_no_more_than_its_steps() -> None:
    training = np.random.default_rng(0).normal(size=200_000)
    anchor = Anchor.fit(training)
    assert anchor.values.size < 3_000
    asked = np.quantile(training, [0.01, 0.3, 0.9, 0.99, 0.9999])
    place = np.searchsorted(anchor.values, asked)
    exact = np.array([(training >= value).sum() for value in asked])
    assert (np.abs(anchor.at_least[place] / exact - 1) < 0.011).all()


def test_a_value_is_rare_by_how_many_rows_share_it_where_neither_side_is_suspicious() -> None:
    X = np.array([[3.0]] * 2 + [[12.0]] * 60 + [[13.0]] * 38)
    detector = TailsDetector.fit(TrainingDistribution.fit(X), [True])
    surprises = detector.surprises(np.array([[12.0], [13.0], [3.0], [5.0]]))[:, 0]
    np.testing.assert_allclose(np.exp(-surprises), np.array([101, 41, 3, 1]) / 101)
