"""The tutorial's steps 3 and 4 by our names: a schema of mixed types, fit, versioned, saved, scored, recommended."""

from datetime import date
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from fraud_pipelines.detection.backends import registered_name
from fraud_pipelines.detection.calibration import Normalization
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import FRAUD_SCHEMA
from fraud_pipelines.detection.serving import serving_code
from fraud_pipelines.detection.training import training_fingerprint
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.storage.model_registry import ModelRegistry, ModelVersionInfo
from fraud_pipelines.storage.training_record import TrainingRecord
from fraud_pipelines.transactions.simulator import SimulationConfig, simulate

DAY: Final = date(2026, 10, 9)

# The schema of the tutorial's step 3, for mixed data types.
SCHEMA: Final = {
    "amount": "numeric",
    "amount_rolling_mean_10": "numeric",
    "amount_rolling_std_10": "numeric",
    "merchant_id": "hash",  # High cardinality
    "device_type": "label",  # Low cardinality
    "country": "label",
    "hour_of_day": "numeric",
    "is_weekend": "binary",
    "days_since_last_tx": "numeric",
}
STANDARDIZATION: Final[Normalization] = "standardization"


@pytest.fixture(scope="module")
def payments() -> pl.DataFrame:
    """A week of simulated payments with their features."""
    config = SimulationConfig(first_day=date(2026, 10, 2), days=7, users=100, transactions_per_day=400)
    transactions = simulate(config).transactions
    features, _ = compute_features(transactions)
    known = [name for name in features.columns if name in transactions.columns and name != "transaction_id"]
    return features.join(transactions.drop(known), on="transaction_id").sort("timestamp", "transaction_id")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    folder = tmp_path_factory.mktemp("mlflow")
    registry = ModelRegistry(f"sqlite:///{folder / 'mlflow.db'}", artifact_root=folder / "artifacts")
    registry.initialise()
    return registry


def fit_and_save(registry: ModelRegistry, training_data: pl.DataFrame, backend: str, folder: Path) -> ModelVersionInfo:
    """Fit, save for production use, and register as a version of the backend's model."""
    settings = {"backend": backend, "schema": SCHEMA, "contamination": 0.01, "normalization": STANDARDIZATION}
    model = FraudModel.fit(training_data, **settings)  # type: ignore[arg-type]
    assert model.training_rows == training_data.height
    digest = model.save(folder)
    return registry.log_version(
        registered_name(backend),
        partition=DAY,
        fingerprint=training_fingerprint(training_data, **settings),  # type: ignore[arg-type]
        artifact_folder=folder,
        record=TrainingRecord(tags={"backend": backend, "model_digest": digest}),
        serving=serving_code(model, training_data.head(5)),
    )


def load(registry: ModelRegistry, version: ModelVersionInfo) -> FraudModel:
    return FraudModel.load(registry.download(version.name, version.version), digest=version.tags["model_digest"])


def test_the_tutorials_daily_model_is_trained_versioned_and_scores_in_bulk(
    payments: pl.DataFrame, registry: ModelRegistry, tmp_path: Path
) -> None:
    training_data, pending_transactions = payments[:2000], payments[2000:]

    first = fit_and_save(registry, training_data, "isolation_forest", tmp_path / "first")
    second = fit_and_save(registry, payments[:2200], "isolation_forest", tmp_path / "second")

    # overwrite=False: a new model is a new version, and the old one stays as it was.
    assert (first.name, first.version, second.version) == ("fraud-daily", 1, 2)
    model = load(registry, first)
    assert model.training_rows == 2000
    assert load(registry, second).training_rows == 2200
    assert fit_and_save(registry, payments[:2200], "isolation_forest", tmp_path / "again").version == 2

    results = model.score(pending_transactions)
    assert results.columns == ["raw_score", "score", "is_anomaly"]
    assert results.height == pending_transactions.height
    assert results["score"].is_between(0, 1).all()
    assert results.equals(FraudModel.load(tmp_path / "first").score(pending_transactions))

    # Its sigmoid and its threshold: the (1 − contamination) quantile of the training scores.
    trained_on = model.score(training_data)
    low, median, high = (float(trained_on["raw_score"].quantile(q, "linear") or 0) for q in (0.25, 0.5, 0.75))
    sigmoid = 1 / (1 + ((median - pl.col("raw_score")) / (2 * (high - low))).exp())
    assert trained_on.select(pl.col("score") - sigmoid).to_series().abs().max() < 1e-12  # type: ignore[operator]
    assert trained_on["is_anomaly"].sum() == 20
    assert model.threshold == pytest.approx(trained_on["score"].quantile(0.99, "linear"))


def test_the_tutorials_ensemble_gives_one_transaction_a_recommendation(
    payments: pl.DataFrame, registry: ModelRegistry, tmp_path: Path
) -> None:
    version = fit_and_save(registry, payments[:2000], "suod", tmp_path / "model")
    assert version.name == "fraud-ensemble"
    model = load(registry, version)

    def deep_fraud_analysis(transaction: pl.DataFrame) -> dict[str, object]:
        score = model.score(transaction).row(0, named=True)
        return {
            "is_fraud": score["is_anomaly"],
            "confidence": score["score"],
            "raw_score": score["raw_score"],
            "recommendation": ("block" if score["score"] > 0.8 else "review" if score["score"] > 0.5 else "approve"),
        }

    ordinary = payments[int(model.score(payments)["raw_score"].arg_min() or 0)]
    outrageous = ordinary.with_columns(
        pl.lit(9_999.0).alias(name) for name in ("amount", "amount_rolling_mean_10", "amount_rolling_std_10")
    ).with_columns(country=pl.lit("XX"))
    assert deep_fraud_analysis(ordinary)["recommendation"] == "approve"
    assert deep_fraud_analysis(ordinary)["is_fraud"] is False
    assert deep_fraud_analysis(outrageous)["recommendation"] == "block"
    assert deep_fraud_analysis(outrageous)["is_fraud"] is True


def test_the_tutorials_complete_schema_of_19_features_trains_on_our_columns(payments: pl.DataFrame) -> None:
    with pytest.warns(UserWarning, match="hashes 4 ids"):
        model = FraudModel.fit(payments, backend="isolation_forest", schema=FRAUD_SCHEMA, contamination=0.01)
    assert model.score(payments)["is_anomaly"].sum() == pytest.approx(payments.height / 100, abs=2)
