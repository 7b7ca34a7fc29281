"""The audit sample: some approved payments are reviewed all the same, each with a probability that is known.

Of what a policy lets through only complaints are heard, and nobody complains of some frauds. A sample tells of all of
them: a payment that is drawn with the probability p stands for 1/p payments (Horvitz and Thompson, A generalization of
sampling without replacement from a finite universe, JASA 47, 1952).

Of all samples of a size, that one tells the number of frauds most exactly whose probabilities grow with the square root
of how probable fraud is (Neyman, On the two different aspects of the representative method, JRSS 97, 1934). Anchored
scores are inverse tail shares, and the share of frauds falls somewhat faster than these: by about s^1.5, so that the
risk of a score s is s^0.75. The score is that of the first of `RISK_MODELS` that scored the day. Where it is wrong the
estimates are still right on average, and only less exact. No payment has less than `LEAST_SHARE` of the mean risk.

Who is drawn follows from the transaction's id and the policy's seed. So a rerun draws the same, whatever the order of
the rows.
"""

import hashlib
import math
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from fraud_pipelines.detection.daily_models import ENSEMBLE_MODEL, SUPERVISED_MODEL

Floats = npt.NDArray[np.float64]

AUDIT: Final = ("audited", "audit_probability")
"""The columns of a decision that tell of the sample: null of alerts, and of days without one."""
AUDIT_SCORE: Final = "audit_score"
"""The column of candidates that the risk is told by; where it is null or absent, the score that decided is."""
RISK_MODELS: Final = (SUPERVISED_MODEL, ENSEMBLE_MODEL)
"""On the demo's approved payments the estimates by the supervised score vary .53 times as much as those of a uniform
sample of the size, by the ensemble's .65 times, by the score that decided .81 times."""

LEAST_SHARE: Final = 0.25
"""The least risk of a payment, as a share of the mean."""
_EVEN: Final = 2.0**64


class AuditDraw(BaseModel):
    """How a day's sample was drawn: with the probability ``scale`` times the larger of risk and ``least``, 1 at most.

    ``model`` names the model whose score tells the risk; empty where the score that decided does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int
    model: str
    scale: float = Field(gt=0)
    least: float = Field(gt=0)

    def probability(self, scores: Floats) -> Floats:
        """Of each score the probability that an approved payment with it is drawn, in (0, 1]."""
        return np.minimum(self.scale * np.maximum(_risk(scores), self.least), 1.0)

    def mark(self, decided: pl.DataFrame, scores: Floats) -> pl.DataFrame:
        """``decided`` with the columns `AUDIT`.

        Args:
            decided: ``transaction_id`` and ``decision``.
            scores: that the risk is told by, a number for each row.
        """
        probability = self.probability(scores)
        drawn = place_of(decided["transaction_id"], self.seed) < probability
        approved = pl.col("decision") == "approve"
        return decided.with_columns(
            audited=pl.when(approved).then(pl.lit(pl.Series(drawn, dtype=pl.Boolean))),
            audit_probability=pl.when(approved).then(pl.lit(pl.Series(probability, dtype=pl.Float64))),
        )


def draw_sample(scores: Floats, size: float, *, seed: int, model: str) -> AuditDraw | None:
    """The draw of a day; None where nothing is approved.

    Args:
        scores: that the risk is told by, of the payments that were approved, shape (n,), in any order.
        size: payments to expect in the sample.
        seed: another seed draws others.
        model: whose scores they are; empty where they are those that decided.
    """
    if not len(scores):
        return None
    risk = _risk(scores)
    # An exact sum: the same for any order of the rows.
    least = max(LEAST_SHARE * math.fsum(risk) / len(risk), float(np.finfo(np.float64).tiny))
    return AuditDraw(seed=seed, model=model, scale=_scale(np.maximum(risk, least), size), least=least)


def risk_scores(candidates: pl.DataFrame, decided: pl.DataFrame) -> Floats:
    """Of each row the score that its risk is told by."""
    scores: Floats = decided["score"].to_numpy()
    if AUDIT_SCORE not in candidates.columns:
        return scores
    told = candidates[AUDIT_SCORE].to_numpy()
    return np.where(np.isnan(told), scores, told)


def place_of(transaction_ids: pl.Series, seed: int) -> Floats:
    """A number in [0, 1) that follows from each id and the seed, evenly spread over ids."""
    begin = hashlib.sha256(f"audit sample {seed}\0".encode())
    places = np.empty(len(transaction_ids))
    for row, transaction_id in enumerate(transaction_ids):
        digest = begin.copy()
        digest.update(transaction_id.encode())
        places[row] = int.from_bytes(digest.digest()[:8]) / _EVEN
    return places


def reviewed() -> pl.Expr:
    """Whether a decision sends its payment to review: as an alert, or since the sample drew it."""
    return (pl.col("decision") != "approve") | pl.col("audited").fill_null(value=False)


def with_audit_columns(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` with the columns `AUDIT`, null where they lack them."""
    kinds = dict(zip(AUDIT, (pl.Boolean, pl.Float64), strict=True))
    return rows.with_columns(
        pl.lit(None, dtype=kind).alias(name) for name, kind in kinds.items() if name not in rows.columns
    )


def _risk(scores: Floats) -> Floats:
    """s^0.75 by square roots, which every machine rounds alike."""
    root = np.sqrt(scores)
    risk: Floats = root * np.sqrt(root)
    return risk


def _scale(risk: Floats, size: float) -> float:
    """What the risks are multiplied by, so that the probabilities, 1 at most, add up to ``size``."""
    if len(risk) <= size:
        return 1 / float(risk.min())
    descending = np.sort(risk)[::-1]
    certain = 0
    while True:
        scale = (size - certain) / math.fsum(descending[certain:])
        beyond = int(np.searchsorted(-descending, -1 / scale, side="left"))
        if beyond <= certain:
            return scale
        certain = beyond
