"""Sixty evenings of tuning with late, partial labels: what each objective keeps to, and what labels hide."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from fraud_pipelines.decisions.policies import OBJECTIVES, Objective, Policy, initial_thresholds
from fraud_pipelines.decisions.stages import alert_level
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import LABEL_FREE_SCHEMA
from fraud_pipelines.evaluation.backtest import DayOfBacktest, backtest, outcomes_of
from fraud_pipelines.evaluation.tuning import tune
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.transactions.schema import LABEL_COLUMNS
from fraud_pipelines.transactions.simulator import SimulationConfig, labels_known_on, simulate
from fraud_pipelines_tests.evaluation.samples import FIRST, noon

POLICY = Policy(name="own", review_threshold=0.5, contamination=0.02, review_cost=5.0)
DAYS, A_DAY = 60, 1000


@dataclass
class World:
    """Scores and the truth behind them; it remembers the labels it has given."""

    scores: pl.DataFrame
    truth: pl.DataFrame
    labels: list[pl.DataFrame] = field(default_factory=list)

    def answers(self, day: date, decided: pl.DataFrame) -> pl.DataFrame:
        found = labels_known_on(day, self.truth, decided)
        self.labels.append(found)
        return found


def generated(seed: int = 0) -> World:
    """Tail-anchored scores in which one payment in a hundred is a fraud that half stands out."""
    rng = np.random.default_rng(seed)
    rows = DAYS * A_DAY
    fraud = rng.random(rows) < 0.01
    raw = rng.normal(size=rows) + 2.2 * fraud
    by_ensemble = raw + rng.normal(0, 0.3, rows)
    day = np.repeat(np.arange(DAYS), A_DAY)
    keys = pl.DataFrame(
        {"transaction_id": [f"t{n}" for n in range(rows)], "event_date": [FIRST + timedelta(days=int(n)) for n in day]}
    )
    amount = np.round(rng.lognormal(3.5, 0.8, rows) * np.where(fraud, 3.0, 1.0), 2)
    wait = np.where(rng.random(rows) < 0.7, 7 + rng.exponential(7, rows), np.nan)
    timestamp = pl.Series([noon(FIRST) + timedelta(days=int(n)) for n in day])
    charged_back = timestamp + (
        pl.Series(wait * 86_400_000_000, nan_to_null=True).cast(pl.Int64).cast(pl.Duration("us"))
    )
    scores = keys.with_columns(
        amount=amount, screening_score=pl.Series(anchored(raw)), second_stage_score=pl.Series(anchored(by_ensemble))
    )
    truth = keys.with_columns(
        timestamp=timestamp, amount=amount, is_fraud=pl.Series(fraud), charged_back_at=charged_back
    )
    return World(scores, truth)


def anchored(raw: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    tail = (np.argsort(np.argsort(-raw)) + 1) / len(raw)
    return np.where(
        tail > POLICY.contamination, POLICY.contamination / (2 * tail), 1 - tail / (2 * POLICY.contamination)
    )


@pytest.fixture(scope="module")
def runs() -> dict[Objective, list[DayOfBacktest]]:
    """Every objective through the same sixty days."""
    world = generated()
    return {each: backtest(world.scores, world.answers, POLICY, objective=each) for each in OBJECTIVES}


def alerts(day: DayOfBacktest) -> int:
    return day.decisions.filter(pl.col("decision") != "approve").height


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_alerts_never_leave_the_bounds_that_the_thresholds_in_force_name(
    runs: dict[Objective, list[DayOfBacktest]], objective: Objective
) -> None:
    days = runs[objective]
    for before, day in pairwise(days):
        assert before.proposal
        low, high = before.proposal.alerts_per_day_bounds
        assert low <= alerts(day) <= high


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_threshold_moves_by_no_more_than_the_policy_allows_a_day(
    runs: dict[Objective, list[DayOfBacktest]], objective: Objective
) -> None:
    found = [day.thresholds.review_threshold for day in runs[objective]]
    for day, before, after in zip(runs[objective], found, found[1:], strict=False):
        assert day.proposal
        if "alerts_per_day" not in str(day.proposal.thresholds.evidence["guards"]):
            assert abs(after - before) <= POLICY.max_daily_change + 1e-9
    assert len(set(found)) > 5


def test_the_alert_budget_is_kept_over_the_weeks(runs: dict[Objective, list[DayOfBacktest]]) -> None:
    days = runs["alert_budget"]
    budget = POLICY.alerts_per_day(A_DAY)
    for first in range(0, DAYS - 14, 7):
        fortnight = sum(alerts(day) for day in days[first : first + 14]) / 14
        assert fortnight == pytest.approx(budget, rel=0.15)


def test_tuning_for_cost_saves_some_by_the_truth_that_it_never_saw(runs: dict[Objective, list[DayOfBacktest]]) -> None:
    world = generated()
    static = backtest(world.scores, world.answers, POLICY, objective=None)
    assert {day.thresholds.review_threshold for day in static} == {0.5}

    def cost(days: list[DayOfBacktest]) -> float:
        decided = pl.concat([day.decisions for day in days]).join(
            world.truth.select("transaction_id", "is_fraud"), on="transaction_id"
        )
        approved = pl.col("decision") == "approve"
        missed = decided.filter(approved, "is_fraud")["amount"].sum()
        return POLICY.review_cost * decided.filter(~approved).height + float(missed)

    assert cost(runs["min_cost"]) < 0.95 * cost(static)


def test_the_labels_of_a_run_answer_its_own_decisions() -> None:
    world = generated()
    days = backtest(
        world.scores.filter(pl.col("event_date") < FIRST + timedelta(days=20)), world.answers, POLICY, objective=None
    )
    labels = pl.concat(world.labels)
    decided = pl.concat([day.decisions for day in days[:-1]])
    reviewed = labels.filter(pl.col("source") == "review")["transaction_id"].sort()
    assert reviewed.equals(decided.filter(pl.col("decision") != "approve")["transaction_id"].sort())
    assert labels.filter(pl.col("source") == "chargeback").height > 10


@dataclass(frozen=True)
class Estimates:
    """The same matured window by the truth, with the unlabelled counted as legitimate, and by labelled rows alone."""

    truth: pl.DataFrame
    presumed: pl.DataFrame
    labelled_only: pl.DataFrame
    recent: pl.DataFrame

    def precision(self, name: str, threshold: float) -> float:
        frame: pl.DataFrame = getattr(self, name).filter(alert_level(POLICY) > threshold)
        return frame.filter("is_fraud").height / frame.height

    def recall(self, name: str, threshold: float) -> float:
        frauds: pl.DataFrame = getattr(self, name).filter("is_fraud")
        return frauds.filter(alert_level(POLICY) > threshold).height / frauds.height


@pytest.fixture(scope="module")
def estimates() -> Estimates:
    """Simulated payments, scored by an isolation forest and an ensemble, decided by thresholds that stay."""
    simulation = simulate(SimulationConfig(first_day=FIRST, days=42, users=700, transactions_per_day=2000))
    features, _ = compute_features(simulation.transactions)
    learned = features.filter(pl.col("event_date") < FIRST + timedelta(days=7))
    judged = features.filter(pl.col("event_date") >= FIRST + timedelta(days=7))
    by = {
        name: FraudModel.fit(learned, backend=backend, schema=LABEL_FREE_SCHEMA, contamination=POLICY.contamination)
        .score(judged)["score"]
        .alias(name)
        for name, backend in (("screening_score", "isolation_forest"), ("second_stage_score", "suod"))
    }
    scores = judged.select("transaction_id", "event_date", "amount").with_columns(by.values())
    world = World(scores, simulation.truth)
    days = backtest(scores, world.answers, POLICY, objective=None)
    labels = pl.concat([pl.DataFrame(schema=LABEL_COLUMNS), *world.labels])
    decided = pl.concat([day.decisions for day in days])
    last = days[-1].day
    window = decided.filter(pl.col("event_date").is_between(last - timedelta(days=20), last - timedelta(days=7)))
    presumed = outcomes_of(window, labels)
    true = window.join(
        simulation.truth.select("transaction_id", "is_fraud"), on="transaction_id", maintain_order="left"
    )
    return Estimates(
        truth=true.with_columns(labelled=pl.lit(True)),
        presumed=presumed,
        labelled_only=presumed.filter("labelled"),
        recent=decided.filter(pl.col("event_date") > last - timedelta(days=7)),
    )


def test_to_count_the_unlabelled_as_legitimate_tells_precision_to_within_three_points(
    estimates: Estimates, record_property: Callable[[str, object], None]
) -> None:
    """Below the threshold in force only frauds get labels, so that the labelled rows alone tell nothing there."""
    for threshold in (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6):
        names = ("truth", "presumed", "labelled_only")
        true, presumed, labelled_only = (estimates.precision(name, threshold) for name in names)
        record_property(f"precision above {threshold}", f"{true:.3f}, {presumed:.3f}, {labelled_only:.3f}")
        assert true - 0.03 <= presumed <= true
        # What alerted was reviewed: there all three agree.
        assert threshold < 0.5 or labelled_only == presumed == true
    assert estimates.precision("labelled_only", 0.1) > estimates.precision("truth", 0.1) + 0.15


def test_recall_is_flattered_by_the_frauds_that_nobody_has_reported_yet(
    estimates: Estimates, record_property: Callable[[str, object], None]
) -> None:
    """Three in ten chargebacks never come, and half of the others take more than two weeks."""
    for threshold in (0.2, 0.3, 0.4, 0.5, 0.6):
        true, presumed = (estimates.recall(name, threshold) for name in ("truth", "presumed"))
        record_property(f"recall above {threshold}", f"{true:.3f}, {presumed:.3f}")
        assert true < presumed < true + 0.25


def test_on_labelled_rows_alone_to_alert_everything_looks_as_good_as_anything(
    estimates: Estimates, record_property: Callable[[str, object], None]
) -> None:
    free = POLICY.model_copy(
        update={"max_daily_change": 1.0, "min_alerts_factor": 0.0, "max_alerts_factor": 1e9, "min_labelled_frauds": 1}
    )

    def of_alerting_everything(name: str) -> float:
        """Its F1, as a share of the best threshold's."""
        frame: pl.DataFrame = getattr(estimates, name)
        sweep = tune(
            frame, estimates.recent, initial_thresholds(free, FIRST), free, day=FIRST, objective="max_f1"
        ).sweep
        found = float(sweep.filter(threshold=0.0)["f1"].item()) / float(sweep["f1"].to_numpy().max())
        record_property(f"alerting everything by {name}", found)
        return found

    assert of_alerting_everything("truth") < 0.1
    assert of_alerting_everything("presumed") < 0.1
    assert of_alerting_everything("labelled_only") > 0.9
