"""Which model decides: the one that is shown to rank best, the amount where none is, the ensemble at the beginning."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest

from fraud_pipelines.decisions.policies import POLICIES, initial_thresholds, thresholds_in_force
from fraud_pipelines.decisions.second_stage import policy_of_day
from fraud_pipelines.evaluation.promotion_words import in_words
from fraud_pipelines.evaluation.second_stage import Choice, MaturedRankings, TrainedOn, choose
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.stored_days import day, make_warehouse

DAYS = 14
TODAY = day(DAYS - 1)
GOOD, WORSE, BAD = "user_z", "user_z + 3 * (hash(transaction_id) % 1000) / 1000", "-user_z"
FEATURES = frozenset({"amount", "user_z"})
NOTHING_SAID = TrainedOn(frozenset(), None)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("second_stage")
    return Settings(data_dir=folder, training_days=3, min_training_days=2, label_delay_days=3, evaluation_days=4)


@pytest.fixture(scope="module")
def warehouse(settings: Settings) -> Warehouse:
    return make_warehouse(settings.warehouse_path, days=DAYS)


def choice_of(
    warehouse: Warehouse,
    settings: Settings,
    scores: Mapping[str, str],
    *,
    previous: str | None = None,
    on: date = TODAY,
    trained: Mapping[date, tuple[str, int | None]] | None = None,
    today: TrainedOn = NOTHING_SAID,
) -> Choice:
    """What is chosen where models give these scores; ``trained``: what the versions of some days had learned from."""
    with warehouse.transaction() as connection:
        for table in ("scoring.transaction_scores", "monitoring.model_promotions"):
            connection.execute(f"DELETE FROM {table}")
        for name, score in scores.items():
            connection.execute(
                f"""
                INSERT INTO scoring.transaction_scores
                SELECT transaction_id, '{name}', 'batch', event_date, 1, {score}, 0.5, false, event_date
                FROM features.transaction_features
                """
            )
        for name in scores:
            for of_day, (features, frauds) in (trained or {}).items():
                connection.execute(
                    "INSERT INTO monitoring.model_promotions BY NAME SELECT $day AS as_of, $name AS model_name, 1 AS "
                    "candidate_version, 'labels' AS rule, 'promoted' AS decision, '{}' AS evidence, "
                    "$features AS trained_features, $frauds::BIGINT AS trained_frauds",
                    {"day": of_day, "name": name, "features": features, "frauds": frauds},
                )
    found = choose(MaturedRankings(warehouse, settings, on), dict.fromkeys(scores, today), previous)
    assert in_words(found.rule, "chosen", found.evidence)
    return found


def test_the_ensemble_decides_until_enough_frauds_are_known(warehouse: Warehouse, settings: Settings) -> None:
    early = choice_of(warehouse, settings, {"fraud-ensemble": BAD, "fraud-daily": GOOD}, on=day(8))
    assert (early.model, early.rule, early.evidence["frauds"]) == ("fraud-ensemble", "few_frauds", 40)


def test_the_amount_decides_where_no_model_ranks_better_and_the_words_say_so(
    warehouse: Warehouse, settings: Settings
) -> None:
    found = choice_of(warehouse, settings, {"fraud-ensemble": BAD, "fraud-daily": BAD})
    assert (found.model, found.rule) == ("fraud-amount", "amount")
    assert "fraud-daily" in in_words(found.rule, "chosen", found.evidence)
    assert "not shown to beat it" in in_words(found.rule, "chosen", found.evidence)


def test_the_best_decides_and_takes_the_place_of_another_only_if_it_is_surely_better(
    warehouse: Warehouse, settings: Settings
) -> None:
    of_all = {"fraud-ensemble": WORSE, "fraud-daily": BAD, "fraud-supervised": GOOD}
    assert choice_of(warehouse, settings, of_all).model == "fraud-supervised"
    alike = {"fraud-ensemble": f"{GOOD} + (hash(transaction_id) % 7) / 100", "fraud-supervised": GOOD}
    for standing in alike:
        found = choice_of(warehouse, settings, alike, previous=standing)
        assert found.model == standing
    # What can't hold against the amount any more gives way at once.
    assert choice_of(warehouse, settings, of_all, previous="fraud-daily").model == "fraud-supervised"


def test_days_whose_version_lacked_what_todays_has_do_not_count(warehouse: Warehouse, settings: Settings) -> None:
    scores = {"fraud-ensemble": WORSE, "fraud-supervised": GOOD}
    blind = {day(number): ("amount", None) for number in range(9)}
    today = TrainedOn(FEATURES, None)
    judged = choice_of(warehouse, settings, scores, trained={day(2): ("amount", None)}, today=today)
    assert judged.model == "fraud-supervised"
    assert set(judged_days(judged).values()) == {7}
    # Where no four days are left, all count: what a version could do without, today's can.
    assert set(judged_days(choice_of(warehouse, settings, scores, trained=blind, today=today)).values()) == {8}

    cold = {day(number): ("amount,user_z", 30) for number in range(5)}
    for frauds, days in ((400, 5), (61, 5), (60, 8)):
        grown = choice_of(warehouse, settings, scores, trained=cold, today=TrainedOn(FEATURES, frauds))
        assert judged_days(grown)["fraud-supervised"] == days


def judged_days(choice: Choice) -> dict[str, int]:
    """On how many days each contestant was judged."""
    contestants = cast("dict[str, Any]", choice.evidence["contestants"])
    return {name: of["gain_over_amount"]["days"] for name, of in contestants.items()}


def test_a_model_that_lost_its_version_decides_nothing(warehouse: Warehouse, settings: Settings) -> None:
    found = choice_of(warehouse, settings, {"fraud-ensemble": GOOD}, previous="fraud-supervised")
    assert found.model == "fraud-ensemble"


def test_the_policy_of_a_day_names_the_model_and_whether_the_screening_is_its_gate(tmp_path: Path) -> None:
    warehouse = make_warehouse(tmp_path / "fraud.duckdb", days=1)
    best = POLICIES["balanced"]
    named = best.model_copy(update={"second_stage": "fraud-supervised"})
    gated = best.model_copy(update={"gate": True})
    asked = (best, named, gated)

    def decided() -> list[tuple[str, bool]]:
        policies = (policy_of_day(warehouse, policy, TODAY) for policy in asked)
        return [(policy.second_stage, policy.gated) for policy in policies]

    def note(as_of: date, model: str, version: int | None, deciding: str | None = None) -> None:
        row = {
            "as_of": as_of,
            "model_name": model,
            "candidate_version": 3,
            "champion_version": version,
            "rule": "best",
            "decision": "chosen",
            "evidence": "{}",
            "deciding_model": deciding,
        }
        with warehouse.transaction() as connection:
            insert(connection, "monitoring.model_promotions", pl.DataFrame([row]))

    assert decided() == [("fraud-ensemble", True), ("fraud-supervised", True), ("fraud-ensemble", True)]
    note(day(3), "fraud-supervised", None)
    note(day(3), "second_stage", 3, "fraud-ensemble")
    assert decided() == [("fraud-ensemble", True)] * 3
    note(day(5), "fraud-supervised", 3)
    note(day(5), "second_stage", 3, "fraud-supervised")
    assert decided() == [("fraud-supervised", False), ("fraud-supervised", True), ("fraud-supervised", True)]
    # As of an earlier day it is as it was then.
    assert policy_of_day(warehouse, best, day(4)).second_stage == "fraud-ensemble"
    note(day(6), "second_stage", 1, "fraud-amount")
    assert decided()[0] == ("fraud-amount", False)

    told = {"fraud-daily": {"average_precision": 0.5, "gain_over_amount": {"low": -0.1}, "beats_amount": False}}
    with warehouse.transaction() as connection:
        connection.execute(
            "UPDATE monitoring.model_promotions SET evidence = ? WHERE as_of = ?",
            [json.dumps({"contestants": told}), day(6)],
        )
    contestants = warehouse.read(
        "SELECT as_of, model_name, gain_over_amount_low, beats_amount FROM monitoring.contestants ORDER BY as_of"
    )
    assert contestants.rows() == [
        (day(3), None, None, None),
        (day(5), None, None, None),
        (day(6), "fraud-daily", -0.1, False),
    ]


def test_thresholds_tuned_on_another_models_scores_are_not_in_force(tmp_path: Path) -> None:
    warehouse = make_warehouse(tmp_path / "fraud.duckdb", days=1)
    ensemble = POLICIES["balanced"].model_copy(update={"second_stage": "fraud-ensemble"})
    supervised = ensemble.model_copy(update={"second_stage": "fraud-supervised"})
    tuned = initial_thresholds(ensemble, day(2)).model_copy(
        update={"review_threshold": 0.6, "objective": "min_cost", "evidence": {"second_stage": "fraud-ensemble"}}
    )
    with warehouse.transaction() as connection:
        insert(connection, "monitoring.decision_thresholds", pl.DataFrame([tuned.row()]))
    assert thresholds_in_force(warehouse, ensemble, day(3)).review_threshold == 0.6
    assert thresholds_in_force(warehouse, supervised, day(3)).review_threshold == 0.5
    by_hand = tuned.model_copy(update={"objective": "set", "evidence": {}, "effective_date": day(3)})
    with warehouse.transaction() as connection:
        insert(connection, "monitoring.decision_thresholds", pl.DataFrame([by_hand.row()]))
    assert thresholds_in_force(warehouse, supervised, day(3)).review_threshold == 0.6
