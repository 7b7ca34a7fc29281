"""The evening's look at the audit sample: its figures over a window, and what other thresholds would have meant."""

from datetime import date
from typing import Final

import numpy as np

from fraud_pipelines.decisions.policies import Policy
from fraud_pipelines.evaluation.audited import AuditedFigures
from fraud_pipelines.evaluation.judged import JudgedDays
from fraud_pipelines.evaluation.lateness import UNKNOWN
from fraud_pipelines.evaluation.sweep import alerts_by_day

AUDITED_SERIES: Final = ("audited", "audited_frauds", "frauds_let_through", "recall_audited", "value_lost_audited")
"""What MLflow shows over the days, beside what labels alone tell."""
AUDITED_HEADLINE: Final = (
    *("audited", "audited_frauds", "frauds_let_through", "frauds_let_through_low", "frauds_let_through_high"),
    *("recall_audited", "recall_audited_low", "recall_audited_high"),
    *("value_lost_audited", "value_lost_audited_low", "value_lost_audited_high"),
)
"""On the page of the asset, in this order."""

_GRID: Final = np.arange(1, 20) / 20


def audited_figures(judged: JudgedDays, policy: Policy, channel: str, first: date, last: date) -> AuditedFigures:
    """What the sample tells of these days; nothing where none was drawn."""
    sample = judged.audit_sample(channel, first, last)
    if sample is None:
        return AuditedFigures()
    return sample.figures(judged.caught(channel, first, last), loss_share=policy.loss_share)


def thresholds_audited(
    judged: JudgedDays, policy: Policy, channel: str, first: date, last: date
) -> list[dict[str, float | None]]:
    """Alerts, precision, recall and value lost of these days at review thresholds from 0.05 to 0.95; none where the
    sample doesn't tell."""
    sample = judged.audit_sample(channel, first, last)
    if sample is None or not sample.tells:
        return []
    alerts = alerts_by_day(judged.decided(channel, first, last, UNKNOWN), _GRID).sum(axis=0)
    caught = judged.caught(channel, first, last)
    return sample.at_thresholds(_GRID.tolist(), alerts, caught, loss_share=policy.loss_share)
