"""The two-stage decision: a screening score lets most pass, that of the second stage decides on the rest."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import polars as pl

from fraud_pipelines.decisions.hard_rules import RULE_REASON
from fraud_pipelines.decisions.policies import Policy, Thresholds
from fraud_pipelines.errors import InvalidInput

BELOW_SCREENING: Final = "below_screening_threshold"
BLOCKED: Final = "high_fraud_confidence"
FLAGGED: Final = "flagged_for_review"
CLEARED: Final = "cleared_by_ensemble"
ENSEMBLE_MISSING: Final = "ensemble_score_missing"
COLLECTING: Final = "collecting"
"""Of an approval in the stream, whose detector has not seen enough transactions yet to give a score."""


def decide(candidates: pl.DataFrame, thresholds: Thresholds, policy: Policy) -> pl.DataFrame:
    """Approve, review or block each transaction; the same for one transaction or a million.

    What the screening scores at most min(``screening_threshold``, ``review_threshold``) is approved. The rest
    is flagged, and the second stage's score decides: above ``block_threshold`` block, above ``review_threshold``
    review, else approve. A flagged row that it didn't score is judged by the screening score, and
    its reason says so.

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
    flagged = screening > pl.min_horizontal(pl.lit(policy.screening_threshold), review)
    score = pl.when(flagged).then(pl.coalesce(second, screening)).otherwise(screening)
    blocked, reviewed = flagged & (score > block), flagged & (score > review)
    reason = (
        pl.when(flagged & second.is_null())
        .then(pl.lit(ENSEMBLE_MISSING))
        .when(blocked)
        .then(pl.lit(BLOCKED))
        .when(reviewed)
        .then(pl.lit(FLAGGED))
        .when(flagged)
        .then(pl.lit(CLEARED))
        .otherwise(pl.lit(BELOW_SCREENING))
    )
    return StageExpressions(
        decision=pl.when(blocked)
        .then(pl.lit("block"))
        .when(reviewed)
        .then(pl.lit("review"))
        .otherwise(pl.lit("approve")),
        score=score if unscored is None else score.fill_null(0.0),
        reason=reason if unscored is None else pl.when(screening.is_null()).then(pl.lit(unscored)).otherwise(reason),
    )


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
    if screening is None:
        return "approve", 0.0, str(unscored)
    if screening <= screen_level(review, policy):
        return "approve", screening, BELOW_SCREENING
    score = screening if second is None else second
    decision, reason = (
        ("block", BLOCKED) if score > block else ("review", FLAGGED) if score > review else ("approve", CLEARED)
    )
    return decision, score, ENSEMBLE_MISSING if second is None else reason


def second_stage_decided(reason: str, score: float, second_score: float | None) -> bool:
    """Whether the score of a decision is that of the second stage, and not of the screening.

    A rule leaves the score of the models: there the score itself tells.
    """
    if reason in (BLOCKED, FLAGGED, CLEARED):
        return True
    return reason.startswith(RULE_REASON) and score == second_score


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
    no higher threshold, but the second stage might have cleared it.
    """
    screening, second = pl.col("screening_score"), pl.col("second_stage_score")
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
