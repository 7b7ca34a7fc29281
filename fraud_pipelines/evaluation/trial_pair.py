"""One backend of a trial: day by day, both sets trained with the same seeds, scored, and held against what is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final, Self

import numpy as np
import polars as pl

from fraud_pipelines.decisions.policies import Policy
from fraud_pipelines.detection.backends import MODEL_NAMES
from fraud_pipelines.detection.daily_models import TrainingPlan
from fraud_pipelines.detection.schema import Schema
from fraud_pipelines.errors import MissingData
from fraud_pipelines.evaluation.lateness import Reported, frauds_stood_for
from fraud_pipelines.evaluation.outcomes import reporting_delay
from fraud_pipelines.evaluation.trial_arms import Arm, InForce
from fraud_pipelines.evaluation.trial_figures import Compared, Day, compare, day_figures, window_figures
from fraud_pipelines.storage.warehouse import Warehouse

_JUDGED_SQL: Final = Path(__file__).with_name("trial_judged.sql")


@dataclass(frozen=True)
class Ground:
    """What is known of the days: by transaction ``user_id``, ``is_fraud`` and ``frauds`` (how many it stands for).

    ``alerts`` is how many transactions of each day the policy would look at.
    """

    by_day: Mapping[date, pl.DataFrame]
    reported: Reported
    alerts: Mapping[date, int]
    cards: int

    @classmethod
    def read(cls, warehouse: Warehouse, policy: Policy, days: Sequence[date], *, as_of: date, cards: int) -> Self:
        """Read what was known at the end of ``as_of``."""
        with warehouse.connect(read_only=True):
            rows = warehouse.read(_JUDGED_SQL.read_text(), {"first": days[0], "last": days[-1]})
            delay = reporting_delay(warehouse, as_of)
        rows = rows.filter(pl.col("event_date").is_in(days))
        reported = delay.reported_of(rows)
        rows = rows.with_columns(frauds=pl.Series(frauds_stood_for(rows, reported)))
        by_day = {key[0]: of_day for key, of_day in rows.partition_by("event_date", as_dict=True).items()}
        alerts = {day: max(1, round(policy.alerts_per_day(of_day.height))) for day, of_day in by_day.items()}
        return cls(by_day, reported, alerts, cards)

    def figures(self, day: date, scores: pl.DataFrame, blocked: set[str]) -> Day:
        """The figures of one model on ``day``: ``transaction_id`` and ``raw_score`` of its transactions."""
        rows = self.by_day[day].join(scores, on="transaction_id", maintain_order="left")
        return day_figures(rows, alerts=self.alerts[day], cards=self.cards, blocked=blocked)


@dataclass(frozen=True)
class BackendTrial:
    """What came out for one backend.

    Attributes:
        version: of its model, in force on the last day.
        gained, lost: features that the candidate reads and the present model doesn't, and the reverse.
        days: those that both scored, in order; none where nothing that the models read differs.
        figures: by the names of `FIGURES`.
        stored: the same, of the scores that production gave on these days.
        present, candidate: for each of the days the figures of each repeat.
    """

    backend: str
    version: int
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    days: tuple[date, ...] = ()
    figures: Mapping[str, Compared] = field(default_factory=dict)
    stored: Mapping[str, float | None] = field(default_factory=dict)
    present: tuple[tuple[Day, ...], ...] = ()
    candidate: tuple[tuple[Day, ...], ...] = ()


class Pair:
    """Both sets of one backend, and the figures of the days that were scored so far."""

    def __init__(
        self, model: InForce, arms: tuple[Arm, Arm], changed: Mapping[str, int], *, repeats: int, seed: int
    ) -> None:
        """Args:
        model: in force, whose backend and parameters both sets have.
        arms: the present set and the candidate.
        changed: features that come out otherwise in the candidate's warehouse.
        repeats: how often each day is trained, each time with another seed.
        seed: what the seeds are drawn from.
        """
        self.model = model
        self._arms = arms
        self._changed = changed
        self._repeats = repeats
        self._seed = seed
        self._one_fit_is_enough = False
        self._read: tuple[dict[str, None], dict[str, None]] = ({}, {})
        self._blocked = [[set[str]() for _ in range(repeats)] for _ in arms]
        self._days: list[date] = []
        self._figures: tuple[list[tuple[Day, ...]], list[tuple[Day, ...]]] = ([], [])

    def differs_on(self, day: date) -> bool:
        """Whether the two sets would be trained on anything that differs for ``day``."""
        try:
            return self._differ([arm.plan(self.model, day) for arm in self._arms])
        except MissingData:
            return False

    def score(self, day: date, ground: Ground) -> None:
        """Train both sets for ``day`` and score it; nothing happens while a supervised model knows too few frauds."""
        try:
            plans = [arm.plan(self.model, day) for arm in self._arms]
        except MissingData:
            return
        for read, (_, schema) in zip(self._read, plans, strict=True):
            read.update(dict.fromkeys(schema))
        scores = [self._scores(arm, day, plan) for arm, plan in zip(self._arms, plans, strict=True)]
        if self._repeats > 1 and not self._days:
            self._one_fit_is_enough = all(of_arm[0].equals(of_arm[1]) for of_arm in scores)
        self._days.append(day)
        for figures, of_arm, blocked in zip(self._figures, scores, self._blocked, strict=True):
            figures.append(tuple(ground.figures(day, *each) for each in zip(of_arm, blocked, strict=True)))

    def result(self, ground: Ground) -> BackendTrial:
        """What came out, beside what production gave on these days."""
        before, after = self._read
        gained = tuple(name for name in after if name not in before)
        lost = tuple(name for name in before if name not in after)
        if not self._days:
            return BackendTrial(self.model.backend, self.model.version, gained, lost)
        present, candidate = (tuple(of_arm) for of_arm in self._figures)
        return BackendTrial(
            backend=self.model.backend,
            version=self.model.version,
            gained=gained,
            lost=lost,
            days=tuple(self._days),
            figures=compare(present, candidate, seed=self._seed),
            stored=self._stored(ground),
            present=present,
            candidate=candidate,
        )

    def _differ(self, plans: Sequence[tuple[TrainingPlan, Schema]]) -> bool:
        (present, before), (candidate, after) = plans
        return (
            dict(before) != dict(after)
            or not self._changed.keys().isdisjoint(after)
            or present.window != candidate.window
        )

    def _scores(self, arm: Arm, day: date, plan: tuple[TrainingPlan, Schema]) -> list[pl.DataFrame]:
        """The day's scores by each repeat."""
        fits = 1 if self._one_fit_is_enough else self._repeats
        found = [arm.score(self.model, day, arm.fit(*plan, seed=self._seed_of(day, repeat))) for repeat in range(fits)]
        return found * (self._repeats // fits)

    def _seed_of(self, day: date, repeat: int) -> int:
        """One of its own for each day and repeat, and the same for both sets."""
        return int(np.random.SeedSequence([self._seed, repeat, day.toordinal()]).generate_state(1)[0])

    def _stored(self, ground: Ground) -> dict[str, float | None]:
        """The figures of production's own scores; none where a day has none."""
        name = MODEL_NAMES[self.model.backend]
        blocked: set[str] = set()
        found = []
        for day in self._days:
            scores = self._arms[0].warehouse.read(
                "SELECT transaction_id, raw_score FROM scoring.transaction_scores "
                "WHERE event_date = ? AND model_name = ? AND channel = 'batch'",
                [day, name],
            )
            if scores.is_empty():
                return {}
            found.append(ground.figures(day, scores, blocked))
        return window_figures(found)
