"""What every detector offers, whichever library fitted it."""

from collections.abc import Mapping
from typing import Protocol, Self

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


def part(arrays: Arrays, name: str) -> Arrays:
    """The arrays of one part, without its prefix."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def with_prefix(name: str, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
    """The arrays as a part of something larger."""
    return {f"{name}/{key}": value for key, value in arrays.items()}
