"""Guards, in words: what thresholds were tuned for, and what held them off the best ones."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from fraud_pipelines.evaluation.blocks import NO_BLOCKS

Evidence = Mapping[str, Any]
"""As `tune` and `set_thresholds` write it."""

OBJECTIVES: Final[Mapping[str, str]] = {
    "alert_budget": "the alert budget",
    "max_f1": "the best F1",
    "min_cost": "the least cost",
    "min_precision": "the most recall that holds the target precision",
    "min_recall": "the fewest alerts that hold the target recall",
}
"""What each objective of a policy strives for."""

_GUARDS: Final[Mapping[str, Callable[[Evidence], str]]] = {
    "min_labelled_frauds": lambda of: (
        f"{of['labelled_frauds']} known frauds are too few for {OBJECTIVES[of['objective_wanted']]}: "
        "until there are more, it keeps to the alert budget"
    ),
    "chargebacks_to_come": lambda of: (
        f"half of the chargebacks on these days must be in for {OBJECTIVES[of['objective_wanted']]}: "
        "until then, it keeps to the alert budget"
    ),
    "alerts_tied": lambda of: (
        f"scores are tied, so that no threshold gives between {_bound(of, 0)} and {_bound(of, 1)} alerts a day: "
        "the lowest one that stays below is taken"
    ),
    "alerts_per_day": lambda of: (
        f"alerts must stay between {_bound(of, 0)} and {_bound(of, 1)} a day, on each single day"
    ),
    "max_daily_change": lambda of: f"it moves by at most {abs(_after(of) - _before(of)):.3g} a day",
    "block_threshold": lambda of: f"it can't lie above the block threshold, {_after(of):.3g}",
    "no_recent_scores": lambda _: "no scores of the latest days are stored: it stays",
    "review_probability": lambda of: f"the policy reviews by a probability, which {_after(of):.3g} has",
}

_BLOCK_GUARDS: Final[Mapping[str, Callable[[Evidence], str]]] = {
    "min_labelled_frauds": lambda of: f"known frauds are too few to tell: the policy's own is {_own(of)}",
    "chargebacks_to_come": lambda of: (
        f"half of the chargebacks on these days must be in: the policy's own is {_own(of)}"
    ),
    "max_daily_change": lambda of: f"it comes down by at most {abs(of['after'] - of['before']):.3g} a day",
    "review_threshold": lambda _: "it can't lie below the review threshold",
}


def held_by(evidence: Evidence) -> list[str]:
    """What held the threshold off the best one, strongest last; empty where nothing did, and where it wasn't tuned."""
    return [_GUARDS[guard](evidence) for guard in evidence.get("guards", ())]


def why(evidence: Evidence) -> list[str]:
    """Sentences: what the threshold was tuned for and on what, what would be best, and what held it off that."""
    if "set_by" in evidence:
        return [f"{evidence['set_by']} set it: {evidence['reason']}."]
    if "kept_from" in evidence:
        return [
            f"It is kept from {evidence['kept_from']}, while the proposal of {evidence['proposal_as_of']} waits.",
        ]
    if "best_threshold" not in evidence:
        return ["It is the start threshold of the policy: nothing has been tuned yet."]
    window = (
        f"{evidence['window_start']} to {evidence['window_end']}, {evidence['labelled']:,} labels, "
        f"{evidence['labelled_frauds']:,} of them frauds"
        if evidence["window_start"]
        else "no day that this policy decided has matured yet"
    )
    sentences = [f"Tuned for {OBJECTIVES[evidence['objective']]}: {window}.", *_caught(evidence.get("decided", {}))]
    best, chosen = evidence["best_threshold"], _after(evidence)
    if best == chosen:
        return [*sentences, *_upper(held_by(evidence)), f"{chosen:.3g} is the best there is."]
    return [*sentences, f"Unguarded, the best would be {best:.3g}; it is {chosen:.3g}.", *_upper(held_by(evidence))]


def why_blocks(evidence: Evidence) -> list[str]:
    """Sentences: what the block threshold was tuned for, what became of such payments, and what held it off the best.

    Empty where it wasn't tuned.
    """
    if "block_threshold" in evidence.get("by_probability", ()):
        return ["The policy blocks by a probability, and not by a tuned threshold."]
    blocks = evidence.get("blocks")
    if not blocks:
        return []
    target = f"{100 * blocks['target_precision']:.3g} %"
    sentences = [f"Blocks, above {blocks['after']:.3g}: {target} of them should be frauds."]
    if blocks["best_threshold"] == NO_BLOCKS:
        sentences = [
            f"Too many of the blocks above {_own(blocks)} were no frauds, and no threshold is shown to hold {target}: "
            "until one is, nothing should be blocked."
        ]
    if blocks["precision"] is not None:
        share, low, high = (f"{100 * blocks[name]:.0f}" for name in ("precision", "precision_low", "precision_high"))
        sentences.append(
            f"Of {blocks['payments']:,} payments of these days that {blocks['second_stage']} scores above it, "
            f"{share} % ({low}–{high} %) are frauds."
        )
    if blocks["best_threshold"] != blocks["after"]:
        sentences.append(f"Unguarded, it would be {blocks['best_threshold']:.3g}.")
    return [*sentences, *_upper([_BLOCK_GUARDS[guard](blocks) for guard in blocks["guards"]])]


def _caught(decided: Evidence) -> list[str]:
    if decided.get("recall") is None:
        return []
    recall, low, high = (f"{100 * decided[name]:.0f}" for name in ("recall", "recall_low", "recall_high"))
    return [f"The decisions of these days caught {recall} % ({low}–{high} %) of the frauds that are ever reported."]


def _upper(clauses: list[str]) -> list[str]:
    return [f"{clause[0].upper()}{clause[1:]}." for clause in clauses]


def _before(evidence: Evidence) -> float:
    return float(evidence["before"]["review_threshold"])


def _after(evidence: Evidence) -> float:
    return float(evidence["after"]["review_threshold"])


def _bound(evidence: Evidence, which: int) -> str:
    return f"{evidence['alerts_per_day_bounds'][which]:,.3g}"


def _own(blocks: Evidence) -> str:
    return f"{blocks['policy_threshold']:.3g}"
