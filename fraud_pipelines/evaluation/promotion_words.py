"""Promotion, in words: what was decided about a version and why, as a person is told it."""

from collections.abc import Mapping
from typing import Any, Final

from fraud_pipelines.evaluation.promotion_evidence import alike

Evidence = Mapping[str, Any]
"""As ``monitoring.model_promotions`` keeps it."""

_DECIDED: Final[Mapping[tuple[str, str], str]] = {
    ("labels", "promoted"): "no worse than the champion",
    ("labels", "refused"): "the champion stays",
    ("stability", "promoted"): "sees the day as the champion does; too few frauds are known to judge by",
    ("stability", "refused"): "the champion stays: the candidate sees the day otherwise",
    ("bootstrap", "promoted"): "the champion was trained on days that it scored",
    ("bootstrap", "refused"): "the champion stays: the candidate was trained on the day that it scores",
    ("supervised", "promoted"): "better than {rival}",
    ("supervised", "refused"): "not shown to be better than {rival}, which decides",
    ("supervised", "withdrawn"): "no longer shown to be better than {rival}, which decides",
}


def in_words(rule: str, decision: str, evidence: Evidence) -> str:
    """One sentence without its full stop: what the decision about a candidate rests on.

    Args:
        rule, decision, evidence: of a row of ``monitoring.model_promotions``.
    """
    if rule == "pinned":
        by, why = evidence.get("pinned_by"), evidence.get("pinned_reason")
        return f"pinned by {by}: {why}" if by else "pinned in MLflow"
    if rule == "no_rival":
        return f"the champion {evidence['champion']}" if "champion" in evidence else "there was no champion"
    if rule in _CHOSEN:
        return _choice(rule, evidence)
    if "needed_days" in evidence:
        return f"judged on {evidence['days']} of the {evidence['needed_days']} days that it takes; it decides nothing"
    decided = _DECIDED.get((rule, decision), f"{decision} by {rule}").format(rival=evidence.get("rival"))
    figures = "; ".join(_figures(evidence))
    return f"{decided} ({figures})" if figures else decided


_CHOSEN: Final[Mapping[str, str]] = {
    "few_frauds": "the ensemble, until {least_frauds} frauds are known on matured days",
    "too_early": "as before: too few days can be judged yet",
    "amount": "no model is shown to rank better than the amount alone",
    "best": "shown to rank best",
    "kept": "as before: {rival} ranks better, but not surely",
}


def _choice(rule: str, evidence: Evidence) -> str:
    found = [f"{evidence['frauds']:,} frauds known"]
    for name, of_model in (evidence.get("contestants") or {}).items():
        gain = of_model["gain_over_amount"]
        shown = "" if of_model["beats_amount"] else ", not shown to beat it"
        found.append(
            f"{name} {of_model['average_precision']:.3f}, over the amount {gain['mean']:+.3f} "
            f"({gain['low']:+.3f} to {gain['high']:+.3f}){shown}"
        )
    return f"{_CHOSEN[rule].format(**evidence)} ({'; '.join(found)})"


def _figures(evidence: Evidence) -> list[str]:
    found = []
    if difference := evidence.get("average_precision_difference"):
        mean, low, high = (difference[name] for name in ("mean", "low", "high"))
        text = f"average precision {mean:+.3f}, 95 % {low:+.3f} to {high:+.3f}"
        if evidence.get("held_out"):
            text += f", on {difference['days']} days held out from its training"
        if "margin" in evidence:
            held = "within" if low > -evidence["margin"] else "beyond"
            text += f", {held} the margin of {evidence['margin']:g}"
        found.append(text)
    if "score_psi" in evidence:
        found.append(f"stability index of the scores {evidence['score_psi']:.3f}, at most {evidence['max_psi']:g}")
    if alerts := evidence.get("alerts"):
        text = f"{alerts['candidate']:,} alerts, the champion {alerts['champion']:,}"
        same = alike(alerts["candidate"], alerts["champion"], alerts["expected"])
        found.append(text if same else f"{text}, {alerts['expected']:,.0f} expected: too far apart")
    return found
