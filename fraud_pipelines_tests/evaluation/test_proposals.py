"""Proposals: a person's word comes first, decided days never change, and to repeat anything changes nothing."""

import os
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.bootstrap import live_warehouse
from fraud_pipelines.decisions.policies import Thresholds, initial_thresholds, policy_named, thresholds_in_force
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.evaluation.daily_performance import tune_thresholds
from fraud_pipelines.evaluation.guards import held_by, why
from fraud_pipelines.evaluation.proposals import (
    Effect,
    TuningMode,
    accept_proposal,
    put_in_effect,
    set_thresholds,
)
from fraud_pipelines.evaluation.tuning import tune
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.samples import FIRST, filled_warehouse, random_outcomes
from fraud_pipelines_tests.examples import examples

POLICY = policy_named("balanced")
LAST = FIRST + timedelta(days=24)
TODAY, TOMORROW = LAST, LAST + timedelta(days=1)
NOW = datetime(2024, 4, 1, 9, 30)
SETTINGS = Settings(label_delay_days=7, evaluation_days=10)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return filled_warehouse(tmp_path, days=25)


def tuned(day: date, review_threshold: float) -> Thresholds:
    return initial_thresholds(POLICY, day + timedelta(days=1)).model_copy(
        update={"review_threshold": review_threshold, "objective": "min_cost", "evidence": {"guards": []}}
    )


def evening(warehouse: Warehouse, day: date, review_threshold: float, mode: TuningMode = "propose") -> Effect:
    current = thresholds_in_force(warehouse, POLICY, day)
    return put_in_effect(warehouse, tuned(day, review_threshold), current, mode=mode, day=day)


def in_force(warehouse: Warehouse, day: date) -> float:
    return thresholds_in_force(warehouse, POLICY, day).review_threshold


def content(warehouse: Warehouse) -> tuple[pl.DataFrame, pl.DataFrame]:
    return (
        warehouse.read("SELECT * FROM monitoring.decision_thresholds ORDER BY ALL"),
        warehouse.read("SELECT * FROM monitoring.threshold_proposals ORDER BY ALL"),
    )


def statuses(warehouse: Warehouse) -> dict[date, str]:
    return dict(warehouse.read("SELECT as_of, status FROM monitoring.threshold_proposals").iter_rows())


def test_a_proposal_changes_nothing_until_it_is_accepted(warehouse: Warehouse) -> None:
    effect = evening(warehouse, TODAY, 0.44)
    assert (effect.origin, effect.status) == ("kept", "open")
    assert in_force(warehouse, TOMORROW) == 0.5

    accepted = accept_proposal(warehouse, "balanced", by="ana", now=NOW)

    assert (accepted.effective_date, accepted.again) == (TOMORROW, False)
    assert in_force(warehouse, TODAY) == 0.5
    assert in_force(warehouse, TOMORROW) == 0.44
    row = warehouse.read("SELECT * FROM monitoring.decision_thresholds WHERE effective_date = ?", [TOMORROW]).row(
        0, named=True
    )
    assert (row["origin"], row["decided_by"], row["reason"]) == ("accepted", "ana", f"proposal of {TODAY}")


def test_to_accept_twice_or_to_run_the_day_again_changes_nothing(warehouse: Warehouse) -> None:
    evening(warehouse, TODAY, 0.44)
    accept_proposal(warehouse, "balanced", by="ana", now=NOW)
    before = content(warehouse)

    again = accept_proposal(warehouse, "balanced", by="bob", now=NOW + timedelta(hours=1))
    assert (again.again, again.accepted_by) == (True, "ana")
    for mode in ("propose", "auto"):
        effect = evening(warehouse, TODAY, 0.41, mode)
        assert (effect.origin, effect.thresholds.review_threshold) == ("accepted", 0.44)

    after = content(warehouse)
    assert after[0].equals(before[0])
    assert after[1].equals(before[1])


def test_accepting_never_changes_thresholds_of_days_already_decided(warehouse: Warehouse) -> None:
    three_days_ago = TODAY - timedelta(days=3)
    evening(warehouse, three_days_ago, 0.44)
    accepted = accept_proposal(warehouse, "balanced", by="ana", now=NOW)
    assert accepted.effective_date == TOMORROW
    for back in range(3):
        assert in_force(warehouse, TODAY - timedelta(days=back)) == 0.5


def test_a_proposal_supersedes_the_open_ones_before_it(warehouse: Warehouse) -> None:
    days = [TODAY - timedelta(days=2), TODAY - timedelta(days=1), TODAY]
    for day, proposed in zip(days, (0.44, 0.43, 0.5), strict=True):
        evening(warehouse, day, proposed)
    assert statuses(warehouse) == dict(zip(days, ("superseded", "superseded", "no_change"), strict=True))
    before = content(warehouse)
    evening(warehouse, days[0], 0.44)
    assert all(left.equals(right) for left, right in zip(before, content(warehouse), strict=True))
    with pytest.raises(InvalidInput, match=f"{days[0]} for balanced is superseded"):
        accept_proposal(warehouse, "balanced", by="ana", now=NOW, as_of=days[0])
    with pytest.raises(InvalidInput, match="no change"):
        accept_proposal(warehouse, "balanced", by="ana", now=NOW, as_of=days[2])
    with pytest.raises(MissingData, match="no proposal for balanced is open"):
        accept_proposal(warehouse, "balanced", by="ana", now=NOW)
    with pytest.raises(MissingData, match="as of 2020-01-01"):
        accept_proposal(warehouse, "balanced", by="ana", now=NOW, as_of=date(2020, 1, 1))


def test_days_keep_what_was_accepted_while_the_next_proposal_waits(warehouse: Warehouse) -> None:
    evening(warehouse, TODAY - timedelta(days=1), 0.44)
    accept_proposal(warehouse, "balanced", by="ana", now=NOW)
    with warehouse.transaction() as connection:
        connection.execute(
            "INSERT INTO scoring.decisions BY NAME SELECT * REPLACE (event_date + 1 AS event_date) "
            "FROM scoring.decisions WHERE event_date = ?",
            [TODAY],
        )
    effect = evening(warehouse, TOMORROW, 0.4)
    assert (effect.origin, effect.status, effect.thresholds.review_threshold) == ("kept", "open", 0.44)
    assert effect.thresholds.evidence["kept_from"] == TOMORROW.isoformat()


def test_in_mode_auto_what_is_tuned_takes_effect_and_open_proposals_end(warehouse: Warehouse) -> None:
    evening(warehouse, TODAY - timedelta(days=1), 0.44)
    effect = evening(warehouse, TODAY, 0.46, "auto")
    assert (effect.origin, effect.status) == ("tuned", None)
    assert in_force(warehouse, TOMORROW) == 0.46
    assert statuses(warehouse) == {TODAY - timedelta(days=1): "superseded"}


@pytest.mark.parametrize("mode", ["auto", "propose"])
def test_a_threshold_that_a_person_sets_outranks_the_tuned_one(warehouse: Warehouse, mode: TuningMode) -> None:
    evening(warehouse, TODAY, 0.44, mode)
    thresholds = set_thresholds(warehouse, POLICY, review_threshold=0.6, by="ana", reason="holiday week")
    assert (thresholds.effective_date, thresholds.block_threshold) == (TOMORROW, 0.8)
    before = content(warehouse)
    effect = evening(warehouse, TODAY, 0.44, mode)
    assert (effect.origin, effect.thresholds.review_threshold) == ("set", 0.6)
    assert in_force(warehouse, TOMORROW) == 0.6
    assert all(left.equals(right) for left, right in zip(before, content(warehouse), strict=True))
    assert "open" not in statuses(warehouse).values()


def test_what_is_said_to_be_in_force_is_what_decides(warehouse: Warehouse) -> None:
    evening(warehouse, TODAY, 0.44)
    edited = POLICY.model_copy(update={"block_threshold": 0.7})
    thresholds = set_thresholds(warehouse, edited, review_threshold=0.6, by="ana", reason="holiday week")
    deciding = thresholds_in_force(warehouse, edited, TOMORROW)
    assert (thresholds.review_threshold, thresholds.block_threshold) == (0.6, 0.7)
    assert (deciding.review_threshold, deciding.block_threshold) == (0.6, 0.7)


def test_what_can_not_be_set_is_named_and_nothing_is_written(warehouse: Warehouse, tmp_path: Path) -> None:
    for review, message in (
        (1.2, "review_threshold 1.2"),
        (-0.1, "review_threshold -0.1"),
        (float("nan"), "review_threshold nan"),
        (0.9, "review_threshold 0.9 lies above block_threshold 0.8"),
    ):
        with pytest.raises(InvalidInput, match=message):
            set_thresholds(warehouse, POLICY, review_threshold=review, by="ana", reason="x")
    with pytest.raises(InvalidInput, match="needs a reason"):
        set_thresholds(warehouse, POLICY, review_threshold=0.5, by="ana", reason=" ")
    assert content(warehouse)[0].is_empty()
    empty = warehouse_at(tmp_path / "empty.duckdb")
    empty.initialise()
    with pytest.raises(MissingData, match="nothing has been decided yet"):
        set_thresholds(empty, POLICY, review_threshold=0.5, by="ana", reason="x")


def test_the_commands_show_accept_and_set(warehouse: Warehouse, tmp_path: Path) -> None:
    from fraud_pipelines.cli import main

    with warehouse.connect(read_only=True):
        found = tune_thresholds(warehouse, SETTINGS, TODAY)
    put_in_effect(warehouse, found.proposal.thresholds, found.current, mode="propose", day=TODAY)
    environment = {"FRAUD_DATA_DIR": str(tmp_path), "FRAUD_TUNING_MODE": "propose", "COLUMNS": "160"}

    def invoke(*arguments: str, code: int = 0) -> str:
        done = CliRunner(env=environment).invoke(main, ["thresholds", *arguments])
        assert done.exit_code == code, done.output
        return done.output

    assert "open" in invoke("list")
    status = CliRunner(env=environment).invoke(main, ["status"]).output
    assert "Threshold proposals that wait" in status
    assert f"balanced │ {TODAY}" in status
    assert "high_security has no tuned thresholds yet" in invoke("list", "--policy", "high_security")
    shown = invoke("show")
    assert "alerts_per_day" in shown
    assert "Accept it with" in shown
    assert f"in force from {TOMORROW}" in invoke("accept", "--by", "ana")
    assert "Accepted before, by ana" in invoke("accept")
    assert "thresholds accept: none" in CliRunner(env=environment).invoke(main, ["status"]).output
    assert "Review above 0.61" in invoke("set", "0.61", "--reason", "holiday week", "--by", "bob")
    listed = invoke("list")
    assert "holiday week" in listed
    assert "bob" in listed
    assert "review_threshold 3" in invoke("set", "3", "--reason", "x", code=1)
    assert "no policy is named 'lenient'" in invoke("accept", "--policy", "lenient", code=1)
    assert (
        "FRAUD_TUNING_MODE"
        in CliRunner(env=environment | {"FRAUD_TUNING_MODE": "guess"}).invoke(main, ["thresholds", "list"]).output
    )


def test_in_the_default_mode_show_tells_what_is_in_force_and_why(warehouse: Warehouse, tmp_path: Path) -> None:
    from fraud_pipelines.cli import main

    environment = {"FRAUD_DATA_DIR": str(tmp_path), "COLUMNS": "160"}

    def invoke(*arguments: str, code: int = 0) -> str:
        done = CliRunner(env=environment).invoke(main, ["thresholds", *arguments])
        assert done.exit_code == code, done.output
        return done.output

    warehouse = live_warehouse(Settings(data_dir=tmp_path))
    untuned = invoke("show")
    assert f"review above {POLICY.review_threshold} and block above {POLICY.block_threshold}" in untuned
    assert "nothing was tuned for balanced as of 2020-01-01" in invoke("show", "--as-of", "2020-01-01", code=1)

    with warehouse.connect(read_only=True):
        found = tune_thresholds(warehouse, SETTINGS, TODAY)
    tuned = found.proposal.thresholds
    put_in_effect(warehouse, tuned, found.current, mode="auto", day=TODAY)
    for shown in (invoke("show"), invoke("show", "--as-of", str(TODAY))):
        assert f"balanced from {TOMORROW}: review above {tuned.review_threshold:.4g}" in shown
        assert "alerts_per_day" in shown
        for sentence in why(tuned.evidence):
            assert sentence in shown

    invoke("set", "0.61", "--reason", "holiday week", "--by", "bob")
    assert "bob set it: holiday week." in invoke("show")


@given(current=st.floats(0.05, 0.75), frauds=st.integers(0, 60), budget=st.floats(1, 400))
@examples(25)
def test_whatever_is_tuned_can_be_told_with_each_guard_that_held(current: float, frauds: int, budget: float) -> None:
    policy = POLICY.model_copy(update={"alert_budget": budget})
    window = random_outcomes(1, rows=700, days=7, first=TODAY - timedelta(days=10), fraud_rate=frauds / 700)
    thresholds = initial_thresholds(policy, TODAY).model_copy(update={"review_threshold": current})
    evidence = tune(window, window, thresholds, policy, day=TODAY).thresholds.evidence
    sentences = why(evidence)
    assert len(held_by(evidence)) == len(evidence["guards"])  # type: ignore[arg-type]
    assert all(sentence[0] == sentence[0].upper() and sentence.endswith(".") for sentence in sentences)
    assert ("best there is" in sentences[-1]) == (evidence["best_threshold"] == evidence["after"]["review_threshold"])  # type: ignore[call-overload, index]


def test_a_command_that_is_refused_says_so_in_one_line(warehouse: Warehouse, tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "fraud_pipelines.cli", "thresholds", "set", "3", "--reason", "x"],
        env=os.environ | {"FRAUD_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    said = (refused.stdout + refused.stderr).splitlines()
    assert len(said) == 1
    assert said[0].startswith("Error: review_threshold 3")
