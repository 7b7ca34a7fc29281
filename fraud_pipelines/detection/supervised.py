"""The supervised model: boosted trees that learn from labels, beside the detectors that need none.

They see every number and flag there is, and the scores of the daily models. Trained on matured labels, they are days
behind; their scores are anchored on the days since, which they haven't seen.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl

from fraud_pipelines.detection.backends import MODEL_NAMES, SUPERVISED, parse_parameters
from fraud_pipelines.detection.calibration import Calibration
from fraud_pipelines.detection.detectors.boosted_trees import BoostedTreesDetector, BoostedTreesParameters
from fraud_pipelines.detection.detectors.interface import Parameters
from fraud_pipelines.detection.distribution import TrainingDistribution
from fraud_pipelines.detection.encoding import FeatureEncoder
from fraud_pipelines.detection.model import FraudModel, library_versions
from fraud_pipelines.detection.schema import MODEL_SCORES, FeatureRole, Schema, SchemaLike, parse_schema
from fraud_pipelines.errors import InvalidInput

LABEL: Final = "is_fraud"
"""The column of the training rows that says what a transaction turned out to be."""

WEIGHT: Final = "stands_for"
"""The column of the training rows that says for how many transactions each stands; without it each for itself."""

SCORE_FEATURES: Final[Mapping[str, str]] = {
    MODEL_NAMES[feature.removesuffix("_score")]: feature for feature in MODEL_SCORES
}
"""Registered model → the feature that holds its score."""

TRAINING_DAYS: Final = 28
"""Four times as many as the detectors take, since frauds are few: with 7 days of the handbook's data the average
precision is 0.009 lower."""

MIN_FRAUDS: Final = 50
"""With fewer known frauds in the training rows, trees learn the frauds by heart."""

_DISTRIBUTION_ROWS: Final = 2_000
"""So many legitimate rows tell what is usual of a feature. Trees don't need the distribution; explanations do."""


def fit_supervised(
    training: pl.DataFrame,
    calibration: pl.DataFrame,
    *,
    rows_in_window: int | None = None,
    schema: SchemaLike,
    contamination: float = 0.01,
    parameters: Parameters | Mapping[str, object] | None = None,
    seed: int = 0,
    feature_version: str = "",
) -> FraudModel:
    """Learn from labelled rows, and anchor the scores on others.

    On its own training rows a supervised model separates better than it ever will again, so that scores anchored
    there would hardly reach 0.5 on a new day. Of very many legitimate rows a sample stands for all.

    Args:
        training: rows with the schema's columns and ``is_fraud``, without nulls; where they have ``stands_for``, trees
            weigh them by it.
        calibration: recent rows that were not trained on; they need no labels.
        rows_in_window: how many rows there are, where ``training`` holds every fraud and only a sample of the
            legitimate ones.
        schema: as for `FraudModel.fit`; see `supervised_schema`.
        contamination: share of the calibration rows to call anomalies, in (0, 0.5].
        parameters: `BoostedTreesParameters`; the defaults if None.
        seed: the same rows and seed give the same model.
        feature_version: as for `FraudModel.fit`.

    Raises:
        InvalidInput: no calibration rows, training rows that are all of one kind, or an unusable column or setting.
    """
    typed = parse_parameters(SUPERVISED.name, parameters)
    assert isinstance(typed, BoostedTreesParameters)
    if LABEL not in training.columns or training[LABEL].null_count() or training[LABEL].n_unique() < 2:
        raise InvalidInput(
            f"The training rows of a supervised model need the column {LABEL}, with frauds and legitimate rows."
        )
    if not calibration.height:
        raise InvalidInput("There are no rows to anchor the scores on; give some that were not trained on.")
    rng = np.random.default_rng(seed)
    is_fraud = training[LABEL].to_numpy()
    legitimate = rng.permutation(np.flatnonzero(~is_fraud))[: typed.max_legitimate]
    taken = np.sort(np.concatenate((np.flatnonzero(is_fraud), legitimate)))
    share_taken = len(legitimate) / ((rows_in_window or training.height) - int(is_fraud.sum()))
    encoder = FeatureEncoder.fit(training[taken], parse_schema(schema))
    X = encoder.transform(training[taken])
    weights = training[WEIGHT].to_numpy()[taken] if WEIGHT in training.columns else None
    detector = BoostedTreesDetector.fit(
        X, is_fraud[taken], typed, weights=weights, share_of_legitimate=share_taken, seed=seed
    )
    return FraudModel(
        backend=SUPERVISED.name,
        parameters=typed,
        seed=seed,
        training_rows=training.height,
        feature_version=feature_version,
        encoder=encoder,
        distribution=TrainingDistribution.fit(X[~is_fraud[taken]][:_DISTRIBUTION_ROWS]),
        detector=detector,
        calibration=Calibration.fit(
            detector.raw_scores(encoder.transform(calibration)), normalization="tail", contamination=contamination
        ),
        libraries=library_versions(),
    )


def supervised_schema(features: Schema, rows: pl.DataFrame) -> Schema:
    """What of ``features`` a supervised model is given, and the scores that every one of ``rows`` has.

    Those are the numbers and flags that have a value somewhere. Where a feature doesn't help, a tree leaves it
    alone; it also finds the suspicious side by itself, so that numbers enter in both directions.
    """
    usable = {
        name: FeatureRole(role=feature.role)
        for name, feature in features.items()
        if feature.role in {"numeric", "binary"} and name in rows.columns and rows[name].null_count() < rows.height
    }
    scored = [name for name in SCORE_FEATURES.values() if name in rows.columns and not rows[name].null_count()]
    return usable | dict.fromkeys(scored, FeatureRole(role="numeric"))


def with_model_scores(features: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """``features`` with a column for each model of `SCORE_FEATURES` that has scores, null where it gave none.

    Args:
        features: with ``transaction_id``; the order of its rows stays.
        scores: ``transaction_id``, ``model_name``, ``score``, at most one row for each model and transaction.
    """
    for (name,), of_model in scores.group_by("model_name"):
        column = SCORE_FEATURES.get(str(name))
        if column:
            features = features.join(
                of_model.select("transaction_id", pl.col("score").alias(column)),
                on="transaction_id",
                how="left",
                maintain_order="left",
            )
    return features
