"""A day of payments with features, and small models that score it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from fraud_pipelines.detection.daily_models import DAILY_MODEL, SUPERVISED_MODEL, LoadedModel, score_day
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.supervised import SCORE_FEATURES, with_model_scores
from fraud_pipelines.features.derivation import derive_day
from fraud_pipelines.features.frames import read_features
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.features.stored import store

DAY = datetime(2026, 3, 1).date()
NOW = datetime(2026, 3, 2)
FEATURES = {"amount": "numeric", "tx_count_24h": "numeric", "merchant_tx_count_24h": "numeric", "country": "label"}


def warehouse_with_features(folder: Path, name: str = "fraud.duckdb") -> Warehouse:
    """A warehouse with 200 payments of `DAY`, and their features."""
    found = warehouse_at(folder / name)
    found.initialise()
    store(
        found,
        [
            {
                "transaction_id": f"t{number * 37 % 200:03d}",
                "user_id": f"u{number * 7 % 23}",
                "timestamp": datetime(2026, 3, 1) + number * timedelta(minutes=7),
                "amount": 1.0 + number * 37 % 101,
                "merchant_id": f"m{number % 9}",
                "device_fingerprint": None,
                "country": "DE" if number % 4 else None,
            }
            for number in range(200)
        ],
    )
    derive_day(found, DAY, plan=shipped_plan())
    return found


def small_models(warehouse: Warehouse) -> Sequence[LoadedModel]:
    """A screening model, and one that takes its score beside the features."""
    features = read_features(warehouse, DAY, DAY)
    small = {"n_estimators": 10, "max_samples": 64}
    daily = FraudModel.fit(features, backend="isolation_forest", schema=FEATURES, parameters=small)
    screened = LoadedModel(DAILY_MODEL, 3, daily)
    column = SCORE_FEATURES[DAILY_MODEL]
    seen = with_model_scores(features, score_day(features, [screened], day=DAY, now=NOW))
    second = FraudModel.fit(seen, backend="ecod", schema={**FEATURES, column: "numeric"})
    return [screened, LoadedModel(SUPERVISED_MODEL, 1, second)]
