"""``fraud-pipelines compile``: compile what numba compiles on first use, and keep it for every process to come."""

import time
from datetime import datetime, timedelta

import polars as pl

from fraud_pipelines.cli.terminal import terminal

console = terminal(highlight=False)

_BACKENDS = ("isolation_forest", "suod", "ecod")


def compile_kernels() -> None:
    """Run the fold and the detectors on a few rows: what they are compiled to stays where numba keeps it.

    That is ``NUMBA_CACHE_DIR``, else the ``__pycache__`` folders of the package. Whoever uses the package from there
    later, in whatever process, begins at once. The declarations in force don't matter: none compiles anything.
    """
    begun = time.perf_counter()
    features = _fold()
    folded = time.perf_counter()
    console.print(f"Features: {folded - begun:.1f} s")
    _score(features)
    console.print(f"Detectors: {time.perf_counter() - folded:.1f} s")


def _fold() -> pl.DataFrame:
    from fraud_pipelines.features.engine import compute_features
    from fraud_pipelines.features.label_events import LabelEvents
    from fraud_pipelines.features.live import LiveHistories
    from fraud_pipelines.plan.compile import shipped_plan

    begin = datetime(2026, 1, 1)
    rows = pl.DataFrame(
        {
            "transaction_id": [f"t{number:03d}" for number in range(400)],
            "user_id": [f"u{number % 20}" for number in range(400)],
            "timestamp": [begin + timedelta(hours=number) for number in range(400)],
            "amount": [1.0 + number * 37 % 101 for number in range(400)],
            "merchant_id": [f"m{number % 7}" for number in range(400)],
            "country": ["DE" if number % 5 else "FR" for number in range(400)],
        }
    ).with_columns(pl.col("timestamp").cast(pl.Datetime("us")))
    frauds = rows.head(5).select("transaction_id", actual_fraud=pl.lit(True), source=pl.lit("review"))
    labels = frauds.with_columns(known_at=pl.lit(begin + timedelta(days=1), pl.Datetime("us")))
    features, _ = compute_features(rows, past=LabelEvents.of(shipped_plan().entities, rows, labels))
    live = LiveHistories(keep_changes=True)
    live.fold(rows.head(300))
    live.fold_one(rows.row(300, named=True))
    live.changed()
    return features


def _score(features: pl.DataFrame) -> None:
    from fraud_pipelines.detection.default_schema import daily_schema, default_schema, grouped_schema
    from fraud_pipelines.detection.groups import Grouping
    from fraud_pipelines.detection.model import FraudModel
    from fraud_pipelines.detection.supervised import LABEL, fit_supervised
    from fraud_pipelines.plan.compile import shipped_plan

    schema, _ = default_schema(features, grouped_schema(shipped_plan()))
    own_kind = frozenset(role.group for role in daily_schema(shipped_plan()).values())
    groups = Grouping(own_kind, features.head(5))
    models = [FraudModel.fit(features, backend=backend, schema=schema, groups=groups) for backend in _BACKENDS]
    known = features.with_row_index().with_columns((pl.col("index") % 4 == 0).alias(LABEL))
    numbers = {name: role for name, role in schema.items() if role.role in ("numeric", "binary")}
    models.append(fit_supervised(known, features, schema=numbers))
    for model in models:
        model.score(features)
        model.explain(features.head(2), top=3)
