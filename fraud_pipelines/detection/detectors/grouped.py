"""Groups of features, each judged by itself, and put together by how likely a fraud of each kind is.

A fraud shows itself in one group of features or another: by its amount, by how fast payments follow each other, by a
device that many share. One detector over all features at once lets the many features of a large group outvote the few
of a small one, and features that mean nothing here drown the others. So each group has a detector of its own, and its
score becomes a tail probability t: the share of training rows that score as high, estimated beyond the largest.

Of ordinary rows t is uniform by definition. Of the frauds that show in a group it is taken to be Beta(a, 1), a < 1, as
p-values under an alternative usually are (Sellke, Bayarri, Berger, "Calibration of p Values for Testing Precise Null
Hypotheses", The American Statistician 2001). With π the share of frauds that show in the group, the ratio of the
likelihoods of fraud and ordinary is Σ π a t^(a−1) over the groups; its logarithm is the score. Known frauds say what π
and a are: a mixture, estimated by expectation maximisation (Dempster, Laird, Rubin, JRSS B 1977), to which also frauds
belong that show in no group. Without any known, a stated prior holds, and it weighs as much as `PRIOR_FRAUDS` later.
Under it a group without a detector of the model's own kind needs far stronger evidence than the others, so that groups
which mean nothing take next to no alerts from those that do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.detection.detectors.interface import (
    Arrays,
    Contributions,
    Detector,
    FloatArray,
    KnowsTrainingScores,
    SelfExplaining,
    part,
    with_prefix,
)
from fraud_pipelines.detection.detectors.tails import Anchor, TailsDetector
from fraud_pipelines.detection.distribution import TrainingDistribution

IntArray = NDArray[np.int64]

HIDDEN_SHARE: Final = 0.2
"""Of the frauds, before any is known: the share that shows in no group. They teach nothing about any."""
PRIMARY_SHARE: Final = 0.8
"""Of the others: the share that shows in the groups with a detector of the model's own kind."""
PRIMARY_TAIL: Final = 0.1
"""a of these groups, before any fraud is known: evidence counts nearly in full."""
SECONDARY_TAIL: Final = 0.6
"""a of the other groups: to count as much, t must be as small as the other's squared and a little more."""
PRIOR_FRAUDS: Final = 20.0
"""So many frauds the prior weighs as much as."""

_ROUNDS: Final = 50
_LEAST_TAIL, _MOST_TAIL = 0.02, 0.7
_NOTHING: Final[Mapping[int, FloatArray]] = MappingProxyType({})


@dataclass(frozen=True)
class Group:
    """One group: what it looks at, its detector, and what frauds look like in it.

    Attributes:
        columns: of the encoded matrix.
        primary: whether its detector is of the model's own kind; else it is a `TailsDetector`.
        share: π, the share of frauds that show in it.
        tail: a, of the Beta(a, 1) that their tail probabilities follow.
    """

    name: str
    columns: IntArray
    primary: bool
    detector: Detector
    anchor: Anchor
    share: float
    tail: float


@dataclass(frozen=True)
class Layout:
    """A group before it is fitted: ``either_side`` says of each column whether it has no suspicious side."""

    name: str
    columns: IntArray
    primary: bool
    either_side: tuple[bool, ...]


@dataclass(frozen=True)
class GroupedDetector:
    """Groups of features, each with a detector of its own."""

    backend: str
    """Whose detector the primary groups have."""
    groups: tuple[Group, ...]

    @classmethod
    def fit(
        cls,
        X: FloatArray,
        training: TrainingDistribution,
        layouts: Sequence[Layout],
        backend: str,
        fit_one: Callable[[FloatArray, TrainingDistribution], Detector],
        frauds: FloatArray,
    ) -> tuple[Self, FloatArray]:
        """Fit each group's detector, and learn from known frauds what they look like.

        Args:
            X: encoded training rows, shape (n, k).
            training: their distribution.
            layouts: the groups.
            backend: of the model.
            fit_one: fits a detector of the model's own kind to the columns of a group.
            frauds: encoded rows of known frauds, shape (m, k), m ≥ 0.

        Returns:
            The detector, and its raw scores of the training rows, shape (n,).
        """
        groups = []
        scored: dict[int, FloatArray] = {}
        primaries = sum(layout.primary for layout in layouts)
        for place, layout in enumerate(layouts):
            own = np.ascontiguousarray(X[:, layout.columns])
            of_columns = training.of_columns(layout.columns)
            detector: Detector = (
                fit_one(own, of_columns) if layout.primary else TailsDetector.fit(of_columns, layout.either_side)
            )
            if isinstance(detector, KnowsTrainingScores):
                scores = detector.training_scores
            else:
                scores = scored[place] = detector.raw_scores(own)
            anchor = Anchor.fit(scores)
            if not layout.primary:
                # The features of a group say much the same: together they are no more surprising than each is.
                anchor = replace(anchor, excess=max(anchor.excess, float(own.shape[1])))
            secondaries = len(layouts) - primaries
            part_of = PRIMARY_SHARE / primaries if layout.primary else (1 - PRIMARY_SHARE) / secondaries
            share = (1 - HIDDEN_SHARE) * part_of
            tail = PRIMARY_TAIL if layout.primary else SECONDARY_TAIL
            groups.append(Group(layout.name, layout.columns, layout.primary, detector, anchor, share, tail))
        prior = cls(backend, tuple(groups))
        fitted = prior.learned_from(prior.surprises(frauds)) if len(frauds) else prior
        return fitted, fitted._ratios(fitted.surprises(X, scored))

    def learned_from(self, surprises: FloatArray) -> Self:
        """These groups with π and a as frauds show them, the ones at hand being the prior.

        Args:
            surprises: −ln t of known frauds, shape (m, groups).
        """
        prior_share = np.array([group.share for group in self.groups])
        prior_tail = np.array([group.tail for group in self.groups])
        share, tail, hidden = prior_share, prior_tail, HIDDEN_SHARE
        for _ in range(_ROUNDS):
            of_kind = share * tail * np.exp((1 - tail) * surprises)
            shown = of_kind / (hidden + of_kind.sum(axis=1, keepdims=True))
            counted = shown.sum(axis=0) + PRIOR_FRAUDS * prior_share
            share = counted / (len(surprises) + PRIOR_FRAUDS)
            hidden = 1 - float(share.sum())
            tail = counted / ((shown * surprises).sum(axis=0) + PRIOR_FRAUDS * prior_share / prior_tail)
            tail = np.clip(tail, _LEAST_TAIL, _MOST_TAIL)
        learned = zip(self.groups, share.tolist(), tail.tolist(), strict=True)
        return replace(self, groups=tuple(replace(group, share=pi, tail=a) for group, pi, a in learned))

    def surprises(self, X: FloatArray, scored: Mapping[int, FloatArray] = _NOTHING) -> FloatArray:
        """−ln t of each group, shape (n, groups).

        Args:
            X: encoded rows, shape (n, k).
            scored: the raw scores of these rows by the detectors of some groups, by the groups' places, where they are
                known already.
        """
        from fraud_pipelines.detection.kernels import anchored_surprises, groups_of_tails

        found = np.empty((X.shape[0], len(self.groups)))
        places, tails = self._tails
        if places:
            found[:, places] = groups_of_tails(X, *tails)
        for place, group in enumerate(self.groups):
            if group.primary:
                known = scored.get(place)
                raw = group.detector.raw_scores(np.ascontiguousarray(X[:, group.columns])) if known is None else known
                anchor = group.anchor
                found[:, place] = anchored_surprises(
                    raw,
                    anchor.values,
                    anchor.at_least,
                    anchor.rows,
                    anchor.excess,
                )
        return found

    @cached_property
    def _tails(self) -> tuple[list[int], tuple[Any, ...]]:
        """The places of the groups of tails, and their arrays joined: many small calls cost more than the scoring."""
        places = [place for place, group in enumerate(self.groups) if not group.primary]
        chosen = [self.groups[place] for place in places]
        detectors = [group.detector for group in chosen if isinstance(group.detector, TailsDetector)]
        if not chosen:
            return [], ()
        sizes = [np.diff(of.offsets) for of in detectors]
        return places, (
            np.concatenate([group.columns for group in chosen]),
            np.concatenate([of.values for of in detectors]),
            np.concatenate([of.surprise for of in detectors]),
            np.concatenate(([0], np.cumsum(np.concatenate(sizes)))).astype(np.int64),
            np.concatenate([of.excess for of in detectors]),
            np.concatenate([of.by_rarity for of in detectors]),
            np.concatenate(([0], np.cumsum([group.columns.size for group in chosen]))).astype(np.int64),
            np.concatenate([group.anchor.values for group in chosen]),
            np.concatenate([group.anchor.at_least for group in chosen]),
            np.concatenate(([0], np.cumsum([group.anchor.values.size for group in chosen]))).astype(np.int64),
            np.array([group.anchor.excess for group in chosen]),
            chosen[0].anchor.rows,
        )

    def raw_scores(self, X: FloatArray) -> FloatArray:
        """ln Σ π a t^(a−1), shape (n,)."""
        return self._ratios(self.surprises(X))

    def _ratios(self, surprises: FloatArray) -> FloatArray:
        from fraud_pipelines.detection.kernels import likelihood_ratios

        return likelihood_ratios(surprises, *self._kinds)[0]

    def contributions(self, X: FloatArray) -> Contributions:
        """The raw score split by the groups' part of the likelihood, and within a group by what raised its score."""
        from fraud_pipelines.detection.kernels import likelihood_ratios

        raw, parts = likelihood_ratios(self.surprises(X), *self._kinds)
        terms = np.zeros(X.shape)
        for place, group in enumerate(self.groups):
            own = np.ascontiguousarray(X[:, group.columns])
            terms[:, group.columns] += (raw * parts[:, place])[:, None] * _shares(group.detector, own)
        return Contributions(0.0, terms)

    @cached_property
    def _kinds(self) -> tuple[FloatArray, FloatArray]:
        return np.array([group.share for group in self.groups]), np.array([group.tail for group in self.groups])

    @property
    def evidence(self) -> list[dict[str, object]]:
        """What is known of each group, as plain JSON: its name, share of frauds and tail."""
        return [
            {"group": group.name, "share_of_frauds": round(group.share, 6), "tail": round(group.tail, 6)}
            for group in self.groups
        ]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The groups' arrays, each under its place."""
        stored: dict[str, NDArray[np.generic]] = {
            "backend": np.array(self.backend),
            "groups": np.array([group.name for group in self.groups]),
            "primary": np.array([group.primary for group in self.groups]),
            "share": np.array([group.share for group in self.groups]),
            "tail": np.array([group.tail for group in self.groups]),
        }
        for place, group in enumerate(self.groups):
            stored |= with_prefix(
                f"group{place}",
                {
                    "columns": group.columns,
                    "rows": np.asarray(group.anchor.rows, dtype=np.int64),
                    "values": group.anchor.values,
                    "at_least": group.anchor.at_least,
                    "excess": np.asarray(group.anchor.excess),
                    **with_prefix("detector", group.detector.arrays()),
                },
            )
        return stored

    @classmethod
    def from_arrays(cls, arrays: Arrays, distribution: TrainingDistribution, /) -> Self:
        """What `arrays` stored, of a model with this distribution."""
        from fraud_pipelines.detection.backends import backend_by_name

        backend = str(arrays["backend"])
        own_kind = backend_by_name(backend).detector
        groups = []
        for place, name in enumerate(arrays["groups"]):
            of = part(arrays, f"group{place}")
            primary = bool(arrays["primary"][place])
            columns = of["columns"].astype(np.int64)
            kind: type[Detector] = own_kind if primary else TailsDetector
            groups.append(
                Group(
                    name=str(name),
                    columns=columns,
                    primary=primary,
                    detector=kind.from_arrays(part(of, "detector"), distribution.of_columns(columns)),
                    anchor=Anchor(
                        int(of["rows"]),
                        of["values"].astype(np.float64),
                        of["at_least"].astype(np.float64),
                        float(of["excess"]),
                    ),
                    share=float(arrays["share"][place]),
                    tail=float(arrays["tail"][place]),
                )
            )
        return cls(backend, tuple(groups))


def is_grouped(arrays: Arrays) -> bool:
    """Whether these are the arrays of a `GroupedDetector`."""
    return "groups" in arrays


def _shares(detector: Detector, X: FloatArray) -> FloatArray:
    """Of what raised a group's score, each feature's share, shape (n, k); equal ones where nothing did."""
    if not isinstance(detector, SelfExplaining):
        return np.full(X.shape, 1 / X.shape[1])
    raised = np.maximum(detector.contributions(X).terms, 0.0)
    total = raised.sum(axis=1, keepdims=True)
    shares: FloatArray = np.where(total > 0, raised / np.where(total > 0, total, 1.0), 1 / X.shape[1])
    return shares
