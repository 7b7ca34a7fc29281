"""A digest of what a daily model is trained on and with, told without reading a row into memory."""

import hashlib
from datetime import date

from fraud_pipelines.code_version import code_version
from fraud_pipelines.detection.backends import backend_by_name
from fraud_pipelines.detection.daily_models import ensure_daily_model


def inputs_digest(training: object, backend: str, day: date, read: str) -> str:
    """Equal as long as the day's model would become the same; may differ where it would, too.

    Args:
        training: how it is trained; its ``repr`` names all settings, its class what makes the plan.
        backend: of the model.
        day: the day that the model is for.
        read: a digest of the rows that the plan is made from.
    """
    code = code_version(ensure_daily_model, computes=(type(training), backend_by_name(backend).detector))
    return hashlib.sha256(repr((training, day.isoformat(), read, code)).encode()).hexdigest()
