"""What every detector offers, whichever library fitted it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from fraud_pipelines.detection.distribution import TrainingDistribution

FloatArray = NDArray[np.float64]
Arrays = Mapping[str, NDArray[np.generic]]
"""A detector at rest: named plain arrays; names of parts are joined by a slash."""


class Parameters(BaseModel):
    """Base of the typed parameters of a backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Detector(Protocol):
    """A frozen detector: it never changes after fitting, so threads may share it, and rows don't affect each other."""

    def raw_scores(self, X: FloatArray) -> FloatArray:
        """Raw scores of encoded rows, shape (n, k) → (n,); higher is more unusual."""
        ...

    def arrays(self) -> Arrays:
        """All that `from_arrays` needs besides the training distribution."""
        ...

    @classmethod
    def from_arrays(cls, arrays: Arrays, distribution: TrainingDistribution, /) -> Self:
        """The detector that `arrays` described."""
        ...


@dataclass(frozen=True)
class Contributions:
    """Raw scores taken apart: each row's score is ``base`` plus the sum of its ``terms``, of shape (n, k)."""

    base: float
    terms: FloatArray

    @property
    def raw_scores(self) -> FloatArray:
        """The scores put together again, shape (n,)."""
        total: FloatArray = self.base + self.terms.sum(axis=1)
        return total


@runtime_checkable
class SelfExplaining(Detector, Protocol):
    """A detector whose score splits exactly among the features. Others are explained by occlusion."""

    def contributions(self, X: FloatArray) -> Contributions:
        """What each feature of encoded rows adds to the raw score; the larger, the more it made the row unusual."""
        ...


@runtime_checkable
class KnowsTrainingScores(Detector, Protocol):
    """A detector that would judge its training rows too kindly if it saw them again, and so kept their scores."""

    @property
    def training_scores(self) -> FloatArray:
        """Raw scores of the training rows, shape (n,), as if each had been new."""
        ...


def part(arrays: Arrays, name: str) -> Arrays:
    """The arrays of one part, without its prefix."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def with_prefix(name: str, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
    """The arrays as a part of something larger."""
    return {f"{name}/{key}": value for key, value in arrays.items()}
