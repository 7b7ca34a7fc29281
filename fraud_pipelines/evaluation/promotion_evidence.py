"""What versions are judged by before one is promoted: labelled days, alert volume, score drift."""

import hashlib
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from functools import cached_property
from math import sqrt
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import polars as pl

from fraud_pipelines.code_version import code_version
from fraud_pipelines.detection.daily_models import (
    DIGEST_TAG,
    ENSEMBLE_MODEL,
    FEATURES_TAG,
    FRAUDS_TAG,
    INPUTS_TAG,
    SUPERVISED_MODEL,
    TRAINED_FROM_TAG,
    TRAINED_TO_TAG,
)
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.evaluation.drift import population_stability_index
from fraud_pipelines.evaluation.held_out import HeldOut, rank_held_out_days
from fraud_pipelines.evaluation.lateness import Reported, ReportingDelay
from fraud_pipelines.evaluation.outcomes import reporting_delay
from fraud_pipelines.evaluation.paired import daily_average_precision, paired_difference, sample_weights
from fraud_pipelines.evaluation.second_stage import LEAST_DAYS, MaturedRankings, TrainedOn, weights_by_age
from fraud_pipelines.features.frames import features_digest, sample_features
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelVersionInfo
from fraud_pipelines.storage.warehouse import Warehouse

MARGIN: Final = 0.05
"""Average precision that a candidate may lose, by the pessimistic end of the interval. Two trainings of the same
forest differ by up to 0.04 there, over 14 days; a smaller margin would refuse them by chance."""
ALERT_FACTOR: Final = 2.0
"""Alerts a day beyond this factor, either way, are not alike; chance is allowed for besides."""
MIN_FRAUDS: Final = 30
"""Known frauds on the judged days; with fewer, the mean of daily average precisions is chance."""
JUDGED_A_DAY: Final = 1_000
"""Transactions of a day that are scored again to judge two versions; of more, about so many stand for all."""
ALIKE_ROWS: Final = 100_000
"""Transactions of the day itself that tell whether two versions see it alike; of more, about so many."""
MAX_SCORE_PSI: Final = 0.1
"""A stability index above it is no longer calm."""
_SCORE_BANDS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9)
"""Where scores are counted: the top tenth of the traffic. Below lie the many that share a few scores, which are
others after every retrain and mean nothing."""

_DAY: Final = timedelta(days=1)
_FRAUD_DAYS_SQL: Final = Path(__file__).with_name("frauds_by_day.sql")


class Evidence:
    """What the versions of a day are judged by, read once for all models."""

    def __init__(self, warehouse: Warehouse, settings: Settings, day: date) -> None:
        self.day = day
        self._warehouse = warehouse
        self._settings = settings
        self.plan = plan_in_force(settings)
        self._read_for: tuple[list[date], list[str]] = ([], [])
        self._rows = pl.DataFrame()
        self._digests: dict[tuple[date, date], str] = {}

    def judged_days(self, versions: Iterable[ModelVersionInfo]) -> list[date]:
        """The latest matured days with a known fraud that none of them was trained on; none if they are too few, or
        half of their chargebacks is still to come."""
        trained_on = set[date]().union(*(_trained_days(each, self._settings.training_days) for each in versions))
        days = [day for day in self._frauds if day not in trained_on][-self._settings.evaluation_days :]
        enough = len(days) == self._settings.evaluation_days and sum(map(self._frauds.__getitem__, days)) >= MIN_FRAUDS
        return days if enough and self._reported(days).half_in else []

    def inputs(self, versions: Iterable[ModelVersionInfo], days: list[date]) -> str:
        """A digest of all that the evidence for these versions, on these days, is computed from.

        Args:
            versions: the candidate and the champion.
            days: as `judged_days` gives them; without any, both are judged by the day itself.
        """
        content = (
            [(each.name, each.version, each.tags.get(DIGEST_TAG)) for each in versions],
            self.day.isoformat(),
            [day.isoformat() for day in days],
            self._features_of(days[0], days[-1]) if days else self._features_of(self.day, self.day),
            self._labels_known if days else "",
            self.plan.version,
            code_version(Evidence),
        )
        return hashlib.sha256(repr(content).encode()).hexdigest()

    def of_labels(
        self, candidate: FraudModel, champion: FraudModel, days: list[date]
    ) -> tuple[bool, dict[str, object]]:
        """Whether the candidate is no worse, on labelled days, and the figures."""
        rows = self._labelled(days, {*candidate.schema, *champion.schema})
        scored = [
            rows.select("event_date", "is_fraud", "late", "weight").hstack(
                model.score(rows).select("raw_score", "is_anomaly")
            )
            for model in (candidate, champion)
        ]
        reported = self._reported(days)
        difference = paired_difference(
            *(daily_average_precision(each, reported) for each in scored), weights=weights_by_age(days)
        )
        assert difference is not None
        of_candidate, of_champion = (round((each["is_anomaly"] * each["weight"]).sum()) for each in scored)
        expected = candidate.contamination * float(rows["weight"].sum())
        return difference.low > -MARGIN and alike(of_candidate, of_champion, expected), {
            "first_day": days[0].isoformat(),
            "last_day": days[-1].isoformat(),
            "frauds": int(rows["is_fraud"].sum()),
            "chargebacks_reported": _rounded(reported),
            "average_precision_difference": difference.json(),
            "margin": MARGIN,
            "alerts": {"candidate": of_candidate, "champion": of_champion, "expected": round(expected, 1)},
        }

    def of_stability(self, candidate: FraudModel, champion: FraudModel) -> tuple[bool, dict[str, object]]:
        """Whether both versions see the day alike, and the figures.

        A champion whose own alerts lie far from what is expected doesn't fit the traffic any more: then it is enough
        that those of the candidate do. The stability index may exceed `MAX_SCORE_PSI` by twice what chance makes of so
        few rows.
        """
        scored = [model.score(self._of_the_day) for model in (candidate, champion)]
        psi = population_stability_index(_bands(scored[1]["score"]), _bands(scored[0]["score"]))
        of_candidate, of_champion = (int(each["is_anomaly"].sum()) for each in scored)
        expected = candidate.contamination * self._of_the_day.height
        most = MAX_SCORE_PSI + 4 * len(_SCORE_BANDS) / self._of_the_day.height
        fits = alike(of_champion, round(expected), expected)
        same = psi <= most and alike(of_candidate, of_champion, expected)
        return same or (not fits and alike(of_candidate, round(expected), expected)), {
            "day": self.day.isoformat(),
            "score_psi": round(psi, 6),
            "max_psi": round(most, 6),
            "alerts": {"candidate": of_candidate, "champion": of_champion, "expected": round(expected, 1)},
        }

    @cached_property
    def rankings(self) -> MaturedRankings:
        """How each model ranked the matured days."""
        return MaturedRankings(self._warehouse, self._settings, self.day)

    def of_supervised(
        self, candidate: ModelVersionInfo, model: Callable[[], FraudModel], *, in_use: bool, known: HeldOut | None
    ) -> tuple[bool, dict[str, object], str | None]:
        """Whether the supervised model beats the ensemble on the matured days that count, and the figures.

        To come into use, the lower bound of the mean difference must lie above 0; to stay, the mean. Until it has
        scored `LEAST_DAYS` matured days it isn't judged; if those were its cold start, days are held out.

        Args:
            candidate: the version trained for the day.
            model: gives that version.
            in_use: whether it was in use on the day before.
            known: days held out when the day was decided before.

        Returns:
            Whether it does, the figures, and the inputs of the days held out, if any were.
        """
        today = trained_on(candidate)
        ensemble = self.rankings.by_day(ENSEMBLE_MODEL)
        own = self.rankings.by_day(SUPERVISED_MODEL).keys() & ensemble.keys()
        if len(own) < LEAST_DAYS:
            return False, {"days": len(own), "needed_days": LEAST_DAYS}, None
        held_out = HeldOut("", {})
        if self.rankings.in_cold_start(SUPERVISED_MODEL, today):
            held_out = self._held_out(candidate, model, known)
            self.rankings.judge_by_held_out(SUPERVISED_MODEL, held_out.days)
        days = self.rankings.counted(SUPERVISED_MODEL, today)
        difference = self.rankings.compared(days, ensemble)
        inputs = held_out.inputs or None
        if difference is None:
            return False, {"days": len(days.keys() & ensemble.keys()), "needed_days": LEAST_DAYS}, inputs
        evidence: dict[str, object] = {
            "first_day": min(days).isoformat(),
            "last_day": max(days).isoformat(),
            "held_out": {day.isoformat(): value for day, value in held_out.days.items()},
            "rival": ENSEMBLE_MODEL,
            "chargebacks_reported": _rounded(self.rankings.reported),
            "average_precision_difference": difference.json(),
        }
        return (difference.mean if in_use else difference.low) > 0, evidence, inputs

    def _held_out(self, candidate: ModelVersionInfo, model: Callable[[], FraudModel], known: HeldOut | None) -> HeldOut:
        """Days held out from the candidate, ranked anew only where what that is computed from is another."""
        tags = (candidate.version, *(candidate.tags.get(tag) for tag in (DIGEST_TAG, INPUTS_TAG)))
        content = (tags, self.day.isoformat(), self._labels_known, self.plan.version, code_version(Evidence))
        inputs = hashlib.sha256(repr(content).encode()).hexdigest()
        if known and known.inputs == inputs:
            return known
        ranked = rank_held_out_days(
            self._warehouse, self._settings, self.plan, candidate, model(), rankings=self.rankings
        )
        return HeldOut(inputs, ranked)

    @property
    def _last_matured(self) -> date:
        return self.day - _DAY - timedelta(days=self._settings.label_delay_days)

    @property
    def _reach(self) -> int:
        """How many days back versions may be judged."""
        return 2 * (self._settings.evaluation_days + self._settings.training_days)

    @cached_property
    def _frauds(self) -> dict[date, int]:
        """Matured days → frauds known before the day, ascending and without days that have none."""
        last = self._last_matured
        found = self._warehouse.read(
            _FRAUD_DAYS_SQL.read_text(),
            {"first": last - timedelta(days=self._reach), "last": last, "known_before": self.day},
        )
        return dict(found.iter_rows())

    def _reported(self, days: list[date]) -> Reported:
        """How many chargebacks on the payments of these days were in when the day began."""
        payments = self._payments
        return self._delay.reported({day: payments.get(day, 0) for day in days})

    def _features_of(self, first: date, last: date) -> str:
        with self._warehouse.connect(read_only=True) as connection:
            if (first, last) not in self._digests:
                self._digests[first, last] = features_digest(connection, first, last)
        return self._digests[first, last]

    @cached_property
    def _labels_known(self) -> str:
        """A digest of the labels that were known before the day, and when each was."""
        found = self._warehouse.read(
            """
            SELECT count(*), sum(hash(hash(transaction_id, source, actual_fraud, known_at))::HUGEINT)
            FROM feedback.label_history
            WHERE known_at < $instant::TIMESTAMP
            """,
            {"instant": self.day},
        )
        return repr((found.row(0), duckdb.__version__))

    @cached_property
    def _payments(self) -> dict[date, int]:
        """How many of each day may be judged."""
        return dict(
            self._warehouse.read(
                """
                SELECT event_date, count(*) FROM features.transaction_features
                WHERE event_date BETWEEN $first AND $last AND transaction_id NOT IN (
                    SELECT transaction_id FROM feedback.unjudged($first, $last, $known_before::TIMESTAMP)
                )
                GROUP BY event_date ORDER BY event_date
                """,
                {
                    "first": self._last_matured - timedelta(days=self._reach),
                    "last": self._last_matured,
                    "known_before": self.day,
                },
            ).iter_rows()
        )

    @cached_property
    def _delay(self) -> ReportingDelay:
        return reporting_delay(self._warehouse, self.day - _DAY)

    def _labelled(self, days: list[date], columns: Iterable[str]) -> pl.DataFrame:
        """Some features of these days with ``is_fraud``, ``late`` and ``weight``: all known frauds, and a sample that
        stands for the other payments; most models are judged by the same days."""
        wanted = sorted({"event_date", *columns})
        if (days, wanted) != self._read_for:
            labels = self._warehouse.read(
                """
                SELECT transaction_id, actual_fraud AS is_fraud, late
                FROM feedback.reported_between($first::TIMESTAMP, $instant::TIMESTAMP)
                """,
                {"first": days[0], "instant": self.day},
            )
            features = sample_features(
                self._warehouse,
                days[0],
                days[-1],
                most=JUDGED_A_DAY * ((days[-1] - days[0]).days + 1),
                always=labels.filter("is_fraud")["transaction_id"],
                columns=wanted,
                known_before=self.day,
            ).rows.filter(pl.col("event_date").is_in(days))
            rows = features.join(labels, on="transaction_id", how="left", maintain_order="left").with_columns(
                pl.col("is_fraud", "late").fill_null(value=False)
            )
            self._read_for, self._rows = (days, wanted), sample_weights(rows, self._payments)
        return self._rows

    @cached_property
    def _of_the_day(self) -> pl.DataFrame:
        return sample_features(self._warehouse, self.day, self.day, most=ALIKE_ROWS).rows


def trained_on(version: ModelVersionInfo) -> TrainedOn:
    """What a version learned from, by its tags."""
    features = version.tags.get(FEATURES_TAG, "")
    frauds = version.tags.get(FRAUDS_TAG)
    return TrainedOn(frozenset(filter(None, features.split(","))), None if frauds is None else int(frauds))


def _rounded(reported: Reported) -> float | None:
    return None if reported.expected is None else round(reported.expected, 3)


def alike(candidate: int, champion: int, expected: float) -> bool:
    """Whether the alerts of the candidate lie within `ALERT_FACTOR` of the champion's and what is expected.

    Three standard deviations of a Poisson count are allowed for besides.
    """
    most, least = max(champion, expected), min(champion, expected)
    return least / ALERT_FACTOR - 3 * sqrt(least) <= candidate <= most * ALERT_FACTOR + 3 * sqrt(most)


def _bands(scores: pl.Series) -> pl.Series:
    """The band of each score, as text: each is a bin of its own to the stability index."""
    return pl.Series(np.searchsorted(_SCORE_BANDS, scores.to_numpy())).cast(pl.String)


def _trained_days(version: ModelVersionInfo, training_days: int) -> set[date]:
    """Every day from the first to the last it was trained on; of a version that doesn't say, the days it may be."""
    first = date.fromisoformat(version.tags.get(TRAINED_FROM_TAG, str(version.partition - timedelta(training_days))))
    last = date.fromisoformat(version.tags.get(TRAINED_TO_TAG, str(version.partition)))
    return {first + timedelta(days=number) for number in range((last - first).days + 1)}
