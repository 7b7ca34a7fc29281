"""What MLflow shows of a daily training: the same parameters, metrics, plots and tables for every backend."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from fraud_pipelines.detection.backends import MODEL_NAMES
from fraud_pipelines.detection.training import rows_digest
from fraud_pipelines.storage.training_record import TrainingData, TrainingRecord

if TYPE_CHECKING:
    from fraud_pipelines.detection.daily_models import TrainingPlan, TrainingReport
    from fraud_pipelines.detection.model import FraudModel

MODEL_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "fraud-daily": "Isolation forest: scores every transaction of a day, and screens what the ensemble looks at.",
    "fraud-ensemble": "Isolation forest, ECOD and LODA together: the second opinion on what the screening model flags.",
    "fraud-realtime": "ECOD: compared here over whole days; the stream has a detector of its own of this kind.",
    "fraud-autoencoder": "Autoencoder: compared with the others; decides nothing.",
    "fraud-supervised": (
        "Boosted trees on matured labels, with the other models' scores among the features: decides every payment once "
        "it is shown to be the best there is, or where a policy names it and it has been promoted."
    ),
    "fraud-amount": (
        "No model: the amount of a payment, anchored as the models' scores are. It decides while none of them is shown "
        "to be better, and has a version for each such day."
    ),
}
"""Registered model → what it is for."""


def training_record(
    plan: "TrainingPlan", model: "FraudModel", report: "TrainingReport", tags: Mapping[str, str]
) -> TrainingRecord:
    """All that is logged beside a model fitted by ``plan``."""
    days = plan.window.days
    name = MODEL_NAMES[plan.backend]
    trained_on = f"{days[0]} to {days[-1]}" if len(days) > 1 else str(days[0])
    seen = " (the day it scores is among them)" if plan.window.bootstrap else ""
    sampled = "" if plan.features.height == plan.rows_in_window else f" sampled from {plan.rows_in_window:,}"
    return TrainingRecord(
        params=_params(plan, model),
        metrics=report.metrics,
        figures=report.figures,
        tables=report.tables,
        tags=tags,
        description=(
            f"{plan.backend} for {plan.day}, trained on {plan.features.height:,} transactions{sampled} of "
            f"{trained_on}{seen}, {len(model.schema)} features."
        ),
        model_description=MODEL_DESCRIPTIONS.get(name, ""),
        data=TrainingData(
            name=f"transaction_features {trained_on}",
            digest=rows_digest(plan.features, model.schema),
            rows=plan.features.height,
            days=len(days),
            first=days[0].isoformat(),
            last=days[-1].isoformat(),
            columns=dict.fromkeys(model.schema, "double"),
        ),
    )


def _params(plan: "TrainingPlan", model: "FraudModel") -> dict[str, object]:
    """Parameters under the same names for every backend, so that MLflow's comparison lines them up.

    The hyper-parameters, of which each backend has its own, are one parameter.
    """
    return {
        "backend": plan.backend,
        "contamination": plan.contamination,
        "normalization": model.calibration.normalization,
        "seed": model.seed,
        "training_rows": model.training_rows,
        "rows_in_window": plan.rows_in_window,
        "training_days": len(plan.window.days),
        "trained_from": plan.window.days[0].isoformat(),
        "trained_to": plan.window.days[-1].isoformat(),
        "features": len(model.schema),
        "hyperparameters": json.dumps(plan.parameters.model_dump(mode="json"), sort_keys=True),
    }
