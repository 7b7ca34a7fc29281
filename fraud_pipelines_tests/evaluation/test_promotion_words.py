"""Promotion in words: what was decided is said as it is, with the figures it rests on."""

import pytest

from fraud_pipelines.evaluation.promotion_words import in_words

DIFFERENCE = {"mean": -0.019, "low": -0.041, "high": 0.003, "days": 14}
ALIKE = {"candidate": 210, "champion": 205, "expected": 200.0}


@pytest.mark.parametrize(
    ("rule", "decision", "evidence", "words"),
    [
        (
            "labels",
            "promoted",
            {"average_precision_difference": DIFFERENCE, "margin": 0.05, "alerts": ALIKE},
            "no worse than the champion (average precision -0.019, 95 % -0.041 to +0.003, within the margin of 0.05; "
            "210 alerts, the champion 205)",
        ),
        (
            "labels",
            "refused",
            {"average_precision_difference": DIFFERENCE | {"low": -0.06}, "margin": 0.05, "alerts": ALIKE},
            "the champion stays (average precision -0.019, 95 % -0.060 to +0.003, beyond the margin of 0.05; "
            "210 alerts, the champion 205)",
        ),
        (
            "stability",
            "refused",
            {"score_psi": 0.02, "max_psi": 0.1, "alerts": ALIKE | {"candidate": 900}},
            "the champion stays: the candidate sees the day otherwise (stability index of the scores 0.020, at most "
            "0.1; 900 alerts, the champion 205, 200 expected: too far apart)",
        ),
        (
            "supervised",
            "promoted",
            {"average_precision_difference": DIFFERENCE | {"days": 4}, "rival": "fraud-ensemble", "held_out": True},
            "better than fraud-ensemble (average precision -0.019, 95 % -0.041 to +0.003, on 4 days held out from its "
            "training)",
        ),
        (
            "supervised",
            "withdrawn",
            {"average_precision_difference": DIFFERENCE, "rival": "fraud-ensemble"},
            "no longer shown to be better than fraud-ensemble, which decides (average precision -0.019, 95 % -0.041 "
            "to +0.003)",
        ),
        (
            "supervised",
            "refused",
            {"days": 3, "needed_days": 14},
            "judged on 3 of the 14 days that it takes; it decides nothing",
        ),
        ("bootstrap", "promoted", {}, "the champion was trained on days that it scored"),
        ("no_rival", "promoted", {}, "there was no champion"),
        (
            "no_rival",
            "promoted",
            {"champion": "can't score any more: its features are others"},
            "the champion can't score any more: its features are others",
        ),
        ("pinned", "pinned", {"pinned_by": "ann", "pinned_reason": "drill"}, "pinned by ann: drill"),
        ("pinned", "pinned", {}, "pinned in MLflow"),
    ],
)
def test_a_decision_is_told_in_plain_words(rule: str, decision: str, evidence: dict[str, object], words: str) -> None:
    assert in_words(rule, decision, evidence) == words
