"""The fraud model: encoder, detector and calibration, fitted, scored, explained, saved and loaded as one."""

import importlib.metadata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Final, Self, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.detection.artifact import read_artifact, write_artifact
from fraud_pipelines.detection.backends import FitContext, backend_by_name, parse_parameters
from fraud_pipelines.detection.calibration import Calibration, Normalization
from fraud_pipelines.detection.detectors.grouped import GroupedDetector, is_grouped
from fraud_pipelines.detection.detectors.interface import (
    Contributions,
    Detector,
    KnowsTrainingScores,
    Parameters,
    part,
    with_prefix,
)
from fraud_pipelines.detection.distribution import TrainingDistribution
from fraud_pipelines.detection.encoding import FeatureEncoder
from fraud_pipelines.detection.explanations import Driver, Ordinary, contributions, drivers, explain, raising
from fraud_pipelines.detection.groups import Grouping
from fraud_pipelines.detection.schema import MODEL_SCORES, Schema, SchemaLike, parse_schema
from fraud_pipelines.errors import ArtifactRejected, InvalidInput

FloatArray = NDArray[np.float64]

_LIBRARIES: Final = ("numpy", "polars", "numba", "scikit-learn", "pyod", "suod")


@dataclass(frozen=True)
class FraudModel:
    """A fitted model. It never changes, so threads may share it, and a row's score depends on that row alone."""

    backend: str
    parameters: Parameters
    seed: int
    training_rows: int
    feature_version: str
    encoder: FeatureEncoder
    distribution: TrainingDistribution
    detector: Detector
    calibration: Calibration
    libraries: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries it was fitted with."""

    @classmethod
    def fit(
        cls,
        features: pl.DataFrame,
        *,
        backend: str,
        schema: SchemaLike | None = None,
        contamination: float = 0.01,
        parameters: Parameters | Mapping[str, object] | None = None,
        seed: int = 0,
        normalization: Normalization = "tail",
        feature_version: str = "",
        groups: Grouping | None = None,
    ) -> Self:
        """Learn from feature rows; no labels are needed.

        Args:
            features: one row a transaction, with at least the columns of the schema.
            backend: a name of `fraud_pipelines.detection.backends.BACKENDS`, or ``pyod.NAME``.
            schema: the features and their roles; `DEFAULT_SCHEMA` if None.
            contamination: share of rows to call anomalies, in (0, 0.5].
            parameters: of the backend; its defaults if None.
            seed: the same rows and seed give the same model, to the byte.
            normalization: how raw scores become scores, see `Calibration`.
            feature_version: version of the code that computed the features, recorded in the model.
            groups: judge each group of the schema by itself, see `detectors.grouped`; all features together if None.

        Raises:
            InvalidInput: no rows, a column of the schema is missing or unusable, or a setting is out of range.
        """
        if schema is None:
            # Only fitting needs the declared features; they don't travel with a served model.
            from fraud_pipelines.detection.default_schema import DEFAULT_SCHEMA

            schema = DEFAULT_SCHEMA
        chosen = backend_by_name(backend)
        typed = parse_parameters(backend, parameters)
        if not features.height:
            raise InvalidInput("There are no rows to train on; a model needs at least one.")
        Calibration.fit(np.zeros(1), normalization=normalization, contamination=contamination)
        _warn_of_hashed_ids(parse_schema(schema))
        encoder = FeatureEncoder.fit(features, schema)
        X = encoder.transform(features)
        distribution = TrainingDistribution.fit(X)
        detector: Detector
        if groups is None:
            detector = chosen.fit(FitContext(X, distribution, contamination, seed), typed)
            scores = detector.training_scores if isinstance(detector, KnowsTrainingScores) else detector.raw_scores(X)
        else:
            detector, scores = GroupedDetector.fit(
                X,
                distribution,
                groups.layouts(encoder.schema),
                backend,
                lambda own, of: chosen.fit(FitContext(own, of, contamination, seed), typed),
                encoder.transform(groups.frauds) if groups.frauds.height else X[:0],
            )
        calibration = Calibration.fit(scores, normalization=normalization, contamination=contamination)
        return cls(
            backend=backend,
            parameters=typed,
            seed=seed,
            training_rows=features.height,
            feature_version=feature_version,
            encoder=encoder,
            distribution=distribution,
            detector=detector,
            calibration=calibration,
            libraries=library_versions(*chosen.libraries),
        )

    @property
    def schema(self) -> Schema:
        """The features it needs, and their roles."""
        return self.encoder.schema

    @property
    def grouped(self) -> bool:
        """Whether it judges each group of features by itself."""
        return isinstance(self.detector, GroupedDetector)

    @property
    def contamination(self) -> float:
        """Share of rows it was told to call anomalies."""
        return self.calibration.contamination

    @property
    def threshold(self) -> float:
        """A row is an anomaly if its score lies above this; 0.5 for tail-anchored scores."""
        return self.calibration.threshold

    def score(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Scores in the order of the rows: ``raw_score``, ``score`` and ``is_anomaly``.

        A score of another model may be absent (`MODEL_SCORES`): it counts as missing, so that its median stands in.

        Raises:
            InvalidInput: a feature column is missing or unusable.
        """
        raw = self.detector.raw_scores(self.encoder.transform(self._complete(frame)))
        score = self.calibration.score(raw)
        return pl.DataFrame({"raw_score": raw, "score": score, "is_anomaly": score > self.threshold})

    def score_row(self, row: Mapping[str, object]) -> float:
        """The ``score`` of one row, given as its features by name: that of `score`, to the bit, in less time.

        Raises:
            InvalidInput: a feature is missing or unusable.
        """
        return float(self.calibration.score(self.detector.raw_scores(self.encoder.transform_row(row)))[0])

    def explain(self, frame: pl.DataFrame, *, top: int = 3) -> pl.DataFrame:
        """The features that made each row unusual: see `fraud_pipelines.detection.explanations.explain`."""
        complete = self._complete(frame)
        raised = raising(self.encoder.transform(complete), self.detector, self._ordinary)
        return explain(complete, self.encoder, self.distribution, raised, top=top)

    def drivers(self, frame: pl.DataFrame, *, top: int = 3) -> list[list[Driver]]:
        """The features that `explain` names of each row, with their contributions, without the words."""
        raised = raising(self.encoder.transform(self._complete(frame)), self.detector, self._ordinary)
        return drivers(raised, self.encoder.names, top=top)

    def drivers_of_row(self, row: Mapping[str, object], *, top: int = 3) -> list[Driver]:
        """`drivers` of one row, given as its features by name: the same to the bit, in less time.

        Raises:
            InvalidInput: a feature is missing or unusable.
        """
        raised = raising(self.encoder.transform_row(row), self.detector, self._ordinary)
        [found] = drivers(raised, self.encoder.names, top=top)
        return found

    def contributions(self, frame: pl.DataFrame) -> Contributions:
        """What each feature adds to each row's raw score: see `fraud_pipelines.detection.explanations.contributions`.

        The columns of its terms are the features in the schema's order.
        """
        return contributions(self.encoder.transform(self._complete(frame)), self.detector, self._ordinary.row)

    @cached_property
    def _ordinary(self) -> Ordinary:
        return Ordinary.of(self.encoder, self.distribution, self.detector)

    def require_feature_version(self, current: str, earlier: str | None = None) -> None:
        """Refuse to score features that are computed otherwise than those it learned from, under the same names.

        Args:
            current: the version of the features at hand.
            earlier: the same, as an earlier release would have named it.

        Raises:
            ArtifactRejected: it was fitted with neither.
        """
        if self.feature_version not in (current, earlier):
            raise ArtifactRejected(
                f"The model learned from features of the version {self.feature_version}, and those at hand are of "
                f"{current}: a feature it uses was declared anew or taken out since. Train it again on those at hand."
            )

    def _complete(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame, with empty columns for scores of other models that nobody gave."""
        absent = [name for name in MODEL_SCORES if name in self.encoder.names and name not in frame.columns]
        return frame.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in absent) if absent else frame

    def save(self, folder: Path) -> str:
        """Write the model to a folder, plain arrays and JSON. Returns its digest, to be kept apart from it."""
        return write_artifact(folder, self._description(), self._arrays())

    @classmethod
    def load(cls, folder: Path, *, digest: str | None = None) -> Self:
        """Read a model that `save` wrote; it scores like the one saved, to the last bit.

        Args:
            folder: where it was saved.
            digest: what `save` returned, if known; a folder with another model is then refused.

        Raises:
            ArtifactRejected: a file is missing or changed, or the model doesn't fit this version of the code.
        """
        content, arrays = read_artifact(Path(folder), digest=digest)
        try:
            return cls._from_content(content, arrays)
        except (KeyError, TypeError, ValueError, InvalidInput) as error:
            raise ArtifactRejected(
                f"{folder} holds a model that this version of the code can't read: {error}. "
                "Retrain it, or load it with the release that wrote it."
            ) from error

    def _description(self) -> dict[str, object]:
        return {
            "backend": self.backend,
            "parameters": self.parameters.model_dump(mode="json"),
            "contamination": self.contamination,
            "normalization": self.calibration.normalization,
            "seed": self.seed,
            "training_rows": self.training_rows,
            "feature_version": self.feature_version,
            "features": self.encoder.to_json(),
            "libraries": dict(self.libraries),
            **({"groups": self.detector.evidence} if isinstance(self.detector, GroupedDetector) else {}),
        }

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            "training_scores": self.calibration.training_scores,
            **with_prefix("distribution", self.distribution.arrays()),
            **with_prefix("detector", self.detector.arrays()),
        }

    @classmethod
    def _from_content(cls, content: dict[str, object], arrays: dict[str, NDArray[np.generic]]) -> Self:
        backend = str(content["backend"])
        distribution = TrainingDistribution.from_arrays(part(arrays, "distribution"))
        of_detector = part(arrays, "detector")
        kind: type[Detector] = GroupedDetector if is_grouped(of_detector) else backend_by_name(backend).detector
        return cls(
            backend=backend,
            parameters=parse_parameters(backend, cast("dict[str, object]", content["parameters"])),
            seed=cast("int", content["seed"]),
            training_rows=cast("int", content["training_rows"]),
            feature_version=str(content["feature_version"]),
            encoder=FeatureEncoder.from_json(cast("list[dict[str, object]]", content["features"])),
            distribution=distribution,
            detector=kind.from_arrays(of_detector, distribution),
            calibration=Calibration.fit(
                arrays["training_scores"].astype(np.float64),
                normalization=cast("Normalization", content["normalization"]),
                contamination=cast("float", content["contamination"]),
            ),
            libraries=cast("dict[str, str]", content["libraries"]),
        )


def library_versions(*further: str) -> dict[str, str]:
    """Versions of the libraries that a model is fitted with here, and of ``further`` ones."""
    return {name: _installed_version(name) for name in (*_LIBRARIES, *further)}


@cache
def _installed_version(library: str) -> str:
    return importlib.metadata.version(library)


def _warn_of_hashed_ids(schema: Schema) -> None:
    hashed = [name for name, feature in schema.items() if feature.role == "hash"]
    if len(hashed) > 1:
        warnings.warn(
            f"The schema hashes {len(hashed)} ids ({', '.join(hashed)}). A hashed id is a random number to an outlier "
            "detector: one is noise, four cost a third of the average precision. Use features about them instead, "
            "such as merchant_risk_7d.",
            stacklevel=3,
        )
