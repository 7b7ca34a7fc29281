"""The two-stage decision: a screening score lets most pass, that of the second stage decides on the rest."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import polars as pl

from fraud_pipelines.decisions.hard_rules import RULE_REASON
from fraud_pipelines.decisions.policies import Policy, Thresholds
from fraud_pipelines.detection.daily_models import AMOUNT_MODEL
from fraud_pipelines.errors import InvalidInput

BELOW_SCREENING: Final = "below_screening_threshold"
BLOCKED: Final = "high_fraud_confidence"
FLAGGED: Final = "flagged_for_review"
CLEARED: Final = "cleared_by_ensemble"
BELOW_REVIEW: Final = "below_review_threshold"
"""Of an approval by a model that judges every payment."""
BY_AMOUNT: Final = "amount"
"""Of whatever the amount alone decided: no model is shown to be better."""
ALERT_CAP: Final = "alert_cap"
"""Of an approval that the models would have alerted, on a day with more alerts than the policy bears."""
ENSEMBLE_MISSING: Final = "ensemble_score_missing"
COLLECTING: Final = "collecting"
"""Of an approval in the stream, whose detector has not seen enough transactions yet to give a score."""


def decide(candidates: pl.DataFrame, thresholds: Thresholds, policy: Policy) -> pl.DataFrame:
    """Approve, review or block each transaction; the same for one transaction or a million.

    What the screening scores at most min(``screening_threshold``, ``review_threshold``) is approved. The rest
    is flagged, and the second stage's score decides: above ``block_threshold`` block, above ``review_threshold``
    review, else approve. A flagged row that it didn't score is judged by the screening score, and
    its reason says so. Without a gate (`Policy.gated`) the second stage decides every row that it scored.

    The ``score`` returned is that of the model that decided. It is comparable within the day although two
    models give it: both anchor their scores at the tail of their own training data, so a score stands for
    the same rarity whoever gives it.

    Args:
        candidates: ``transaction_id``, ``screening_score`` in [0, 1], ``second_stage_score`` in [0, 1] or null.

    Returns:
        ``transaction_id``, ``decision``, ``score``, ``reason``, a row for each candidate, in the same order.

    Raises:
        InvalidInput: a score is missing, or outside [0, 1].
    """
    check_scores(candidates)
    by_models = stage_expressions(pl.lit(thresholds.review_threshold), pl.lit(thresholds.block_threshold), policy)
    return candidates.select(
        "transaction_id",
        by_models.decision.alias("decision"),
        by_models.score.alias("score"),
        by_models.reason.alias("reason"),
    )


class StageExpressions(NamedTuple):
    """The outcome of both stages, over ``screening_score`` and ``second_stage_score``."""

    decision: pl.Expr
    score: pl.Expr
    reason: pl.Expr


def stage_expressions(
    review: pl.Expr, block: pl.Expr, policy: Policy, *, unscored: str | None = None
) -> StageExpressions:
    """What `decide` decides by, with thresholds that may differ from row to row.

    With ``unscored``, a row without a screening score is approved with score 0 for that reason.
    """
    screening, second = pl.col("screening_score"), pl.col("second_stage_score")
    words = _words(policy)
    asked = screening > pl.min_horizontal(pl.lit(policy.screening_threshold), review)
    flagged = asked if policy.gated else second.is_not_null() | asked
    score = pl.when(flagged).then(pl.coalesce(second, screening)).otherwise(screening)
    blocked, reviewed = flagged & (score > block), flagged & (score > review)
    reason = (
        pl.when(flagged & second.is_null())
        .then(pl.lit(ENSEMBLE_MISSING))
        .when(blocked)
        .then(pl.lit(words.blocked))
        .when(reviewed)
        .then(pl.lit(words.flagged))
        .when(flagged)
        .then(pl.lit(words.cleared))
        .otherwise(pl.lit(BELOW_SCREENING))
    )
    nobody = screening.is_null() if policy.gated else screening.is_null() & second.is_null()
    return StageExpressions(
        decision=pl.when(blocked)
        .then(pl.lit("block"))
        .when(reviewed)
        .then(pl.lit("review"))
        .otherwise(pl.lit("approve")),
        score=score if unscored is None else pl.when(nobody).then(0.0).otherwise(score),
        reason=reason if unscored is None else pl.when(nobody).then(pl.lit(unscored)).otherwise(reason),
    )


class _Words(NamedTuple):
    """The reasons that the second stage decides for."""

    blocked: str
    flagged: str
    cleared: str


def _words(policy: Policy) -> _Words:
    if policy.second_stage == AMOUNT_MODEL:
        return _Words(BY_AMOUNT, BY_AMOUNT, BY_AMOUNT)
    return _Words(BLOCKED, FLAGGED, CLEARED if policy.gated else BELOW_REVIEW)


def stages(
    screening: float | None,
    second: float | None,
    review: float,
    block: float,
    policy: Policy,
    unscored: str | None = None,
) -> tuple[str, float, str]:
    """Decision, score and reason of one transaction: `stage_expressions` in plain Python.

    The scores have been checked: only with ``unscored`` the one of the screening may be missing.
    """
    judged = second is not None and not policy.gated
    if screening is None and not judged:
        return "approve", 0.0, str(unscored)
    if not judged and screening is not None and screening <= screen_level(review, policy):
        return "approve", screening, BELOW_SCREENING
    score = screening if second is None else second
    assert score is not None
    words = _words(policy)
    decision, reason = (
        ("block", words.blocked)
        if score > block
        else ("review", words.flagged)
        if score > review
        else ("approve", words.cleared)
    )
    return decision, score, ENSEMBLE_MISSING if second is None else reason


def second_stage_decided(reason: str, score: float, second_score: float | None) -> bool:
    """Whether the score of a decision is that of the second stage, and not of the screening.

    A rule leaves the score of the models: there the score itself tells.
    """
    if reason in (BLOCKED, FLAGGED, CLEARED, BELOW_REVIEW, BY_AMOUNT):
        return True
    return (reason == ALERT_CAP or reason.startswith(RULE_REASON)) and score == second_score


def deciding_version(reason: str, score: float, versions: Sequence[str], second_score: float | None) -> str | None:
    """Of the ``model_versions`` of a decision the one whose score it has; None where no model scored."""
    if not versions:
        return None
    return versions[-1] if second_stage_decided(reason, score, second_score) else versions[0]


def screen_level(review_threshold: float, policy: Policy) -> float:
    """The screening score above which a transaction is flagged.

    The screen never stands above the review threshold: what a policy wants reviewed must reach the second stage.
    """
    return min(policy.screening_threshold, review_threshold)


def alert_level(policy: Policy) -> pl.Expr:
    """The lowest review threshold that would let a transaction pass without an alert.

    An expression over ``screening_score`` and ``second_stage_score``, such that for every review threshold T up
    to the block threshold, `decide` alerts exactly when ``alert_level > T``. It is not the final score: with T
    below the screening threshold, the screen is T itself, and a row has to pass both models.

    A row that the second stage has not seen takes its screening score, which is an upper bound: it could alert at
    no higher threshold, but the second stage might have cleared it. Without a gate it is the second stage's score.
    """
    screening, second = pl.col("screening_score"), pl.col("second_stage_score")
    if not policy.gated:
        return pl.coalesce(second, screening)
    return (
        pl.when(second.is_null())
        .then(screening)
        .when(screening > policy.screening_threshold)
        .then(second)
        .otherwise(pl.min_horizontal(screening, second))
    )


def check_scores(candidates: pl.DataFrame, *, unscored_allowed: bool = False) -> None:
    """Raise `InvalidInput` unless every score lies in [0, 1]; that of the second stage may be null."""
    screening, second = pl.col("screening_score"), pl.col("second_stage_score")
    # `~between` and not its negated bounds: NaN compares as larger than any number.
    unusable = screening.is_not_null() & ~screening.is_between(0, 1)
    if not unscored_allowed:
        unusable |= screening.is_null()
    bad = candidates.filter(unusable | (second.is_not_null() & ~second.is_between(0, 1)))
    if bad.height:
        first = bad.row(0, named=True)
        raise InvalidInput(
            f"{bad.height} transactions have no usable score, the first is {first['transaction_id']!r} with "
            f"screening_score {first['screening_score']} and second_stage_score {first['second_stage_score']}: "
            "scores must lie in [0, 1]; score the day again with a loadable model"
        )
