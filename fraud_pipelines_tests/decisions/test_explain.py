"""Explanations of alerts: the model whose score decided explains it, in words that a rule turns into context."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.explain import explain_alerts
from fraud_pipelines.decisions.hard_rules import NO_RULES, HardRules
from fraud_pipelines.decisions.policies import POLICIES, initial_thresholds
from fraud_pipelines.decisions.stages import deciding_version
from fraud_pipelines.detection.daily_models import LoadedModel
from fraud_pipelines.detection.model import FraudModel

SCREENING, SECOND = "fraud-daily/3", "fraud-ensemble/4"
BY_AMOUNT = "amount of 900.00 stands out among all payments"
BY_COUNT = "30 payments in the last 24 hours"
RULES = HardRules.model_validate(
    {
        "rules": [
            {"name": name, "decision": "review", "expires": "2030-01-01", "when": {"amount": {"above": 1}}} | words
            for name, words in {"told": {"description": "a list of stolen cards"}, "untold": {}}.items()
        ]
    }
)
BALANCED = POLICIES["balanced"]
ENGINE = DecisionEngine(BALANCED, initial_thresholds(BALANCED, date(2026, 3, 1)), RULES)


@pytest.fixture(scope="module")
def models() -> Mapping[str, LoadedModel]:
    """A screening model that looks at nothing but the amount, and a second stage that looks at the count alone."""
    usual = pl.DataFrame({"amount": [float(n % 20) for n in range(200)], "tx_count_24h": [n % 3 for n in range(200)]})
    return {
        SCREENING: LoadedModel("fraud-daily", 3, FraudModel.fit(usual, backend="ecod", schema={"amount": "numeric"})),
        SECOND: LoadedModel(
            "fraud-ensemble", 4, FraudModel.fit(usual, backend="ecod", schema={"tx_count_24h": "numeric"})
        ),
    }


@pytest.mark.parametrize(
    ("reason", "score", "second_score", "codes"),
    [
        ("flagged_for_review", 0.7, 0.7, [BY_COUNT]),
        ("high_fraud_confidence", 0.9, 0.9, [BY_COUNT]),
        ("ensemble_score_missing", 0.9, None, [BY_AMOUNT]),
        ("rule:told", 0.7, 0.7, ["a list of stolen cards", f"also: {BY_COUNT}"]),
        ("rule:told", 0.1, 0.7, ["a list of stolen cards", f"also: {BY_AMOUNT}"]),
        ("rule:untold", 0.1, None, ["the rule untold applies", f"also: {BY_AMOUNT}"]),
    ],
)
def test_the_model_that_decided_explains(
    models: Mapping[str, LoadedModel], reason: str, score: float, second_score: float | None, codes: list[str]
) -> None:
    decided = pl.DataFrame(
        {
            "transaction_id": ["approved", "t"],
            "decision": ["approve", "review"],
            "reason": ["below_screening_threshold", reason],
            "score": [0.1, score],
            "second_stage_score": [None, second_score],
            "model_versions": [[SCREENING, SECOND]] * 2,
        },
        schema_overrides={"second_stage_score": pl.Float64},
    )
    features = pl.DataFrame({"transaction_id": ["t"], "amount": [900.0], "tx_count_24h": [30]})
    found = explain_alerts(decided, features, ENGINE, lambda name, number: models[f"{name}/{number}"])
    assert found.rows() == [("t", codes)]


def test_the_stream_names_its_own_detector_and_is_not_asked_about_it() -> None:
    versions = ["fraud-realtime@500", SECOND]
    assert deciding_version("flagged_for_review", 0.7, versions, 0.7) == SECOND
    assert deciding_version("ensemble_score_missing", 0.7, versions[:1], None) == "fraud-realtime@500"
    assert deciding_version("collecting", 0.0, [], None) is None
    decided = pl.DataFrame(
        {
            "transaction_id": ["t"],
            "decision": ["review"],
            "reason": ["ensemble_score_missing"],
            "score": [0.7],
            "second_stage_score": [None],
            "model_versions": [versions[:1]],
        }
    )
    assert explain_alerts(
        decided, pl.DataFrame({"transaction_id": ["t"]}), replace(ENGINE, rules=NO_RULES), _never
    ).is_empty()


def _never(name: str, number: int) -> LoadedModel:
    raise AssertionError(f"{name}/{number} was asked for")
