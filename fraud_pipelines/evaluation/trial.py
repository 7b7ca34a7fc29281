"""A trial: what a change of the declarations would have done to the models on past days. Nothing of it is stored.

For each day two sets of models are trained on the same days with the same seeds: one with the features that the models
in force read, one with those that are declared now. Both score the day. So their difference is that of the
features alone: neither the seed of a model in force, nor days on which production was another, have a part in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.detection.training import training_window
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.evaluation.cards import CARDS_A_DAY
from fraud_pipelines.evaluation.lateness import Reported
from fraud_pipelines.evaluation.outcomes import last_known_day, matured_window
from fraud_pipelines.evaluation.trial_arms import Arm, InForce, models_in_force
from fraud_pipelines.evaluation.trial_features import TrialFeatures, trial_features
from fraud_pipelines.evaluation.trial_pair import BackendTrial, Ground, Pair
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse

Progress = Callable[[int, int], None]
"""Called with how many days are done, and how many there are."""


@dataclass(frozen=True)
class Trial:
    """What to try, and on which days.

    Attributes:
        first, last: the days to score, both included.
        backends: those to train; empty for every one that has a model in force.
        without: features that the models are to do without.
        training_days: trailing days that the detectors learn from; None for as many as in production.
        repeats: how often each day is trained, each time with another seed.
        seed: the same seed gives the same figures.
        cards: k of card precision@k.
    """

    first: date
    last: date
    backends: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    training_days: int | None = None
    repeats: int = 1
    seed: int = 0
    cards: int = CARDS_A_DAY


@dataclass(frozen=True)
class TrialResult:
    """A trial and what came out.

    Attributes:
        features: which of them are new or computed otherwise.
        removed: features that a model in force reads and that are declared no more.
        days: those scored, in order.
        skipped: days of which too little went before: the model would have been trained on the day that it scores.
        frauds: known on the scored days.
        reported: share of the chargebacks on them that has come.
        alerts_per_day: mean of what the policy would look at.
        backends: in the order in which they score a day.
    """

    trial: Trial
    features: TrialFeatures
    removed: tuple[str, ...]
    days: tuple[date, ...]
    skipped: tuple[date, ...]
    frauds: int
    reported: Reported
    alerts_per_day: float
    backends: tuple[BackendTrial, ...]


def last_matured_days(production: Warehouse, settings: Settings) -> tuple[date, date]:
    """First and last day of the window whose labels have had time to arrive, by the last day that was scored.

    Raises:
        MissingData: no day was scored yet.
    """
    scored = production.read("SELECT max(event_date) FROM scoring.transaction_scores").item()
    if scored is None:
        raise MissingData("No scores are stored yet. Start with fraud-pipelines demo, or fraud-pipelines run.")
    return matured_window(scored, label_delay_days=settings.label_delay_days, evaluation_days=settings.evaluation_days)


def run_trial(
    production: Warehouse,
    registry: ModelRegistry,
    settings: Settings,
    trial: Trial,
    folder: Path,
    *,
    progress: Progress = lambda _done, _of: None,
) -> TrialResult:
    """Compute, train and score in ``folder``, and compare. Production is only read.

    Raises:
        InvalidInput: nothing that a model reads differs from production, or an unknown feature or backend is named.
        MissingData: the days have no features, no models in use, or too little before them.
        ArtifactRejected, RegistryUnavailable: as for `models_in_force`.
    """
    plan = plan_in_force(settings)
    in_force = _chosen(models_in_force(production, registry, trial.last), trial, plan)
    training_days = max(settings.training_days, trial.training_days or 0)
    reach = max(each.days_before(settings, training_days) for each in in_force)
    features = trial_features(
        production,
        folder,
        trial.first - timedelta(days=reach),
        trial.last,
        plan=plan,
        redefined=any(each.redefined(plan) for each in in_force),
    )
    days, skipped = _days_to_score(features, settings, trial)
    arms = (
        Arm(features.present, settings, settings.training_days, as_declared=False),
        Arm(
            features.candidate,
            settings,
            trial.training_days or settings.training_days,
            as_declared=True,
            without=trial.without,
        ),
    )
    pairs = [Pair(each, arms, features.changed, repeats=trial.repeats, seed=trial.seed) for each in in_force]
    differing = [pair for pair in pairs if pair.differs_on(days[-1])]
    if not differing:
        raise InvalidInput(_nothing_to_try(features, trial))
    as_of = last_known_day(production) or days[-1]
    ground = Ground.read(features.present, policy_in_force(settings), days, as_of=as_of, cards=trial.cards)
    for done, day in enumerate(days):
        progress(done, len(days))
        for pair in differing:
            pair.score(day, ground)
    progress(len(days), len(days))
    return TrialResult(
        trial=trial,
        features=features,
        removed=tuple(dict.fromkeys(name for each in in_force for name in each.features if name not in plan.features)),
        days=days,
        skipped=skipped,
        frauds=sum(int(rows["is_fraud"].sum()) for rows in ground.by_day.values()),
        reported=ground.reported,
        alerts_per_day=float(np.mean(list(ground.alerts.values()))),
        backends=tuple(pair.result(ground) for pair in pairs),
    )


def _chosen(in_force: Mapping[str, InForce], trial: Trial, plan: Plan) -> list[InForce]:
    for backend in trial.backends:
        if backend not in in_force:
            raise InvalidInput(
                f"No model of the backend {backend} was in use on {trial.last}; there were {', '.join(in_force)}."
            )
    chosen = [model for backend, model in in_force.items() if not trial.backends or backend in trial.backends]
    for name in trial.without:
        if not any(name in model.features or name in plan.features for model in chosen):
            alike = get_close_matches(name, plan.features, n=3)
            raise InvalidInput(
                f"There is no feature {name}" + (f"; did you mean {' or '.join(alike)}?" if alike else ".")
            )
    return chosen


def _days_to_score(
    features: TrialFeatures, settings: Settings, trial: Trial
) -> tuple[tuple[date, ...], tuple[date, ...]]:
    """The days that models can be trained for without seeing them, and the others."""
    in_range = [day for day in features.days if trial.first <= day <= trial.last]
    if not in_range:
        raise MissingData(
            f"No features are stored for {trial.first} to {trial.last}. Run these days first: "
            f"fraud-pipelines run --from {trial.first} --to {trial.last}"
        )
    windows = {
        day: training_window(
            day,
            features.days,
            training_days=settings.training_days,
            min_training_days=settings.min_training_days,
        )
        for day in in_range
    }
    days = tuple(day for day, window in windows.items() if not window.bootstrap)
    if not days:
        raise MissingData(
            f"A model needs {settings.min_training_days} days before the one that it scores, and no day of "
            f"{trial.first} to {trial.last} has them. Name later days with --from and --to."
        )
    return days, tuple(day for day in in_range if day not in days)


def _nothing_to_try(features: TrialFeatures, trial: Trial) -> str:
    unread = [*features.new, *features.changed, *trial.without]
    if unread:
        return (
            f"No model reads {', '.join(unread)}, so nothing would differ. A new feature enters the daily models with "
            "daily: true, and a supervised model, once there is one, in any case."
        )
    return (
        "Nothing that a model reads is declared otherwise than in production. Declare a feature in "
        "fraud.yaml first (docs/declarations.md), or leave one out with --without."
    )
