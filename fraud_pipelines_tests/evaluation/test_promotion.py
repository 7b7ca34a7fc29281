"""Promotion on real MLflow and DuckDB: a fresh version wins unless something speaks against it, and it is on record."""

import json
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from unittest import mock

import polars as pl
import pytest

from fraud_pipelines.decisions.configuration import engine_in_force
from fraud_pipelines.decisions.decided_day import decide_day
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.log import record_decisions
from fraud_pipelines.decisions.policies import POLICIES, initial_thresholds
from fraud_pipelines.decisions.replay import replay_decisions
from fraud_pipelines.decisions.second_stage import policy_of_day
from fraud_pipelines.detection import daily_models
from fraud_pipelines.detection.daily_models import (
    TrainingPlan,
    TrainingReport,
    ensure_daily_model,
    load_version,
    score_day,
    versions_in_use,
)
from fraud_pipelines.detection.detectors.boosted_trees import BoostedTreesParameters
from fraud_pipelines.detection.detectors.ecod import EcodParameters
from fraud_pipelines.detection.detectors.isolation_forest import IsolationForestParameters
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.supervised_plan import SupervisedTraining
from fraud_pipelines.detection.training import training_window
from fraud_pipelines.errors import MissingData
from fraud_pipelines.evaluation import promotion_evidence
from fraud_pipelines.evaluation.promotion import decide_promotions, pin_tags, record_promotions
from fraud_pipelines.evaluation.training_report import training_report
from fraud_pipelines.features.frames import days_with_features, read_features
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.model_registry import ModelRegistry, ModelVersionInfo
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.stored_days import day, make_warehouse

DAYS = 14
MODEL = "fraud-realtime"
LABELLED = day(DAYS - 1)
"""The last day; four matured days that neither of its versions saw have known frauds."""


class World:
    """Days and versions, and promotion decided on them."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(
            data_dir=folder, training_days=3, min_training_days=2, label_delay_days=3, evaluation_days=4
        )
        self.warehouse: Warehouse = make_warehouse(self.settings.warehouse_path, days=DAYS)
        self.registry = ModelRegistry(self.settings.tracking_uri, artifact_root=self.settings.artifact_root)
        self.settings.mlflow_dir.mkdir(parents=True, exist_ok=True)
        self.registry.initialise()

    def train(self, on: date, *, blind: bool = False) -> ModelVersionInfo:
        """The version of a day; a blind one has learned that unusual amounts are usual, and alarms at none."""
        window = training_window(on, days_with_features(self.warehouse), training_days=3, min_training_days=2)
        features = read_features(self.warehouse, window.days[0], window.days[-1])
        if blind:
            upside_down = ((1000 - 100 * pl.col(name)).alias(name) for name in ("user_z", "user_rz"))
            features = features.with_columns(*upside_down, amount=pl.col("amount") * 1000)
        plan = TrainingPlan(
            "ecod",
            on,
            window,
            features,
            EcodParameters(),
            contamination=0.02,
            declared=shipped_plan(),
            rows_in_window=features.height,
        )
        return ensure_daily_model(self.registry, plan, report=lambda _: TrainingReport()).version

    def decide(self, on: date) -> dict[str, object]:
        promotions = decide_promotions(self.warehouse, self.registry, self.settings, on)
        record_promotions(self.warehouse, self.registry, promotions, on)
        return self.row(on)

    def row(self, on: date, model: str = MODEL) -> dict[str, object]:
        rows = self.warehouse.read(
            "SELECT * FROM monitoring.model_promotions WHERE as_of = ? AND model_name = ?", [on, model]
        )
        (row,) = rows.to_dicts()
        return row | {"evidence": json.loads(row["evidence"])}

    def newest(self, on: date) -> int:
        version = self.registry.latest_for_partition(MODEL, on)
        assert version is not None
        return version.version

    def forget(self) -> None:
        """Leave the days and the versions, and nothing that was decided."""
        with self.warehouse.transaction() as connection:
            connection.execute("DELETE FROM monitoring.model_promotions")
        for alias in ("champion", "challenger", "pinned"):
            self.registry.set_alias(MODEL, alias, None)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Good versions 1 to 5, of the days 0, 1, 4, 12 and 13."""
    world = World(tmp_path_factory.mktemp("promotion"))
    for number in (0, 1, 4, 12, 13):
        world.train(day(number))
    return world


@pytest.fixture
def world(everything: World) -> Iterator[World]:
    yield everything
    everything.forget()


def test_the_first_version_is_used_and_one_trained_in_sample_gives_way(world: World) -> None:
    first = world.decide(day(0))
    assert (first["rule"], first["decision"], first["champion_version"], first["previous_champion"]) == (
        "no_rival",
        "promoted",
        1,
        None,
    )
    assert [world.decide(day(number))["rule"] for number in (1, 4)] == ["bootstrap", "bootstrap"]
    assert versions_in_use(world.warehouse, day(4)) == {MODEL: 3}


def test_without_enough_labels_an_alike_version_is_promoted_by_its_alerts_and_scores(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (4, 12):
        row = world.decide(day(number))
    monkeypatch.setattr("fraud_pipelines.evaluation.promotion_evidence.MIN_FRAUDS", 1000)
    row = world.decide(LABELLED)
    assert (row["rule"], row["decision"], row["champion_version"]) == (
        "stability",
        "promoted",
        world.newest(LABELLED),
    )
    evidence = row["evidence"]
    assert isinstance(evidence, dict)
    assert evidence["score_psi"] <= evidence["max_psi"]
    assert {"candidate", "champion", "expected"} == evidence["alerts"].keys()


def test_a_version_no_worse_on_labelled_days_that_neither_saw_is_promoted(world: World) -> None:
    world.decide(day(12))
    row = world.decide(LABELLED)
    newest = world.newest(LABELLED)
    assert (row["rule"], row["decision"], row["champion_version"]) == ("labels", "promoted", newest)
    assert (row["candidate_version"], row["previous_champion"]) == (newest, 4)
    evidence = row["evidence"]
    assert isinstance(evidence, dict)
    # Trained were days 9 to 11 and 10 to 12; matured, as known before day 13, are those up to day 9.
    assert (evidence["first_day"], evidence["last_day"]) == (str(day(5)), str(day(8)))
    assert evidence["frauds"] == 32
    assert evidence["average_precision_difference"]["days"] == 4
    assert world.registry.aliases(MODEL) == {"champion": newest, "challenger": newest}


def test_a_worse_version_is_refused_and_the_older_one_scores_the_day(everything: World, world: World) -> None:
    world.decide(day(12))
    blind = world.train(LABELLED, blind=True)
    try:
        row = world.decide(LABELLED)
        assert (row["rule"], row["decision"], row["champion_version"]) == ("labels", "refused", 4)
        assert versions_in_use(world.warehouse, LABELLED) == {MODEL: 4}
        assert world.registry.aliases(MODEL) == {"champion": 4, "challenger": blind.version}
        # Nothing that became known later changes what was decided.
        before = world.row(LABELLED)
        with world.warehouse.transaction() as connection:
            connection.execute("DELETE FROM feedback.labels WHERE known_at >= ?", [LABELLED])
        assert world.decide(LABELLED) == before
    finally:
        world.train(LABELLED)  # the good one again, as the newest of its day


def test_a_day_run_again_decides_as_then_and_leaves_the_aliases_of_today(world: World) -> None:
    rows = [world.decide(day(number)) for number in (0, 1, 4, 12)]
    aliases = world.registry.aliases(MODEL)
    again = [world.decide(day(number)) for number in (1, 4)]
    assert again == rows[1:3]
    assert world.registry.aliases(MODEL) == aliases == {"champion": 4, "challenger": 4}


def test_a_day_run_again_takes_over_what_it_decided_until_a_row_behind_it_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.decide(day(12))
    before = world.decide(LABELLED)
    calls: list[list[date]] = []
    judge = promotion_evidence.Evidence.of_labels

    def counted(
        self: promotion_evidence.Evidence, candidate: FraudModel, champion: FraudModel, days: list[date]
    ) -> tuple[bool, dict[str, object]]:
        calls.append(days)
        return judge(self, candidate, champion, days)

    monkeypatch.setattr(promotion_evidence.Evidence, "of_labels", counted)
    assert world.decide(LABELLED) == before
    assert not calls
    tables = ("features.transaction_features", "feedback.labels")
    stored = {table: world.warehouse.read(f"SELECT * FROM {table}") for table in tables}
    outside = "UPDATE features.transaction_features SET amount = amount + 1 WHERE event_date = ?"
    with world.warehouse.transaction() as connection:
        connection.execute(outside, [day(9)])
    assert world.decide(LABELLED) == before
    assert not calls
    changes = [
        ("UPDATE features.transaction_features SET user_z = user_z + 1 WHERE event_date = ?", day(6)),
        ("UPDATE feedback.labels SET known_at = known_at - INTERVAL 1 SECOND WHERE known_at < ?", LABELLED),
    ]
    try:
        for number, (change, of_day) in enumerate(changes, 1):
            with world.warehouse.transaction() as connection:
                connection.execute(change, [of_day])
            assert world.decide(LABELLED)["inputs"] != before["inputs"]
            assert len(calls) == number
    finally:
        with world.warehouse.transaction() as connection:
            for table, rows in stored.items():
                connection.execute(f"DELETE FROM {table}")
                insert(connection, table, rows)


def test_a_pin_wins_from_the_latest_day_on_and_earlier_days_keep_what_they_had(world: World) -> None:
    for number in (0, 4):
        world.decide(day(number))
    world.registry.set_alias(MODEL, "pinned", 1)
    world.registry.tag_version(MODEL, 1, pin_tags(by="ann", reason="drill", at=datetime(2026, 9, 5)))
    pinned = world.decide(day(12))
    assert (pinned["decision"], pinned["champion_version"]) == ("pinned", 1)
    assert pinned["evidence"] == {"pinned_by": "ann", "pinned_reason": "drill", "pinned_at": "2026-09-05T00:00:00"}
    assert world.registry.aliases(MODEL) == {"champion": 1, "challenger": 4, "pinned": 1}
    assert world.decide(day(4))["decision"] == "promoted"

    world.registry.set_alias(MODEL, "pinned", None)
    after = world.decide(LABELLED)
    assert (after["previous_champion"], after["decision"]) == (1, "promoted")
    assert world.decide(day(12)) == pinned


def test_a_champion_that_mlflow_no_longer_has_is_no_rival(world: World) -> None:
    world.decide(day(12))
    with world.warehouse.transaction() as connection:
        connection.execute("UPDATE monitoring.model_promotions SET champion_version = 99")
    row = world.decide(LABELLED)
    assert (row["rule"], row["decision"], row["previous_champion"]) == ("no_rival", "promoted", 99)


def test_a_version_of_an_earlier_release_is_taken_up_until_a_feature_is_computed_otherwise(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(daily_models, "current_feature_version", lambda schema, declared: "named otherwise")
        of_then = world.train(day(6))
    model = load_version(world.registry, MODEL, of_then.version).model
    assert model.feature_version == "named otherwise"
    monkeypatch.setattr(daily_models, "earlier_version", lambda names, plan: "named otherwise")
    daily_models.require_current_features(model, shipped_plan())
    assert world.train(day(6)) == of_then
    monkeypatch.setattr(daily_models, "earlier_version", lambda names, plan: None)
    assert world.train(day(6)).version > of_then.version


def test_the_supervised_model_is_used_only_while_it_beats_the_ensemble(world: World) -> None:
    plan = SupervisedTraining(
        declared=shipped_plan(),
        parameters=BoostedTreesParameters(max_iter=5),
        contamination=0.02,
        label_delay_days=3,
        min_frauds=20,
        sample_rows=100_000,
    ).plan(world.warehouse, LABELLED)
    assert plan.window.days[-1] == day(9)
    assert plan.calibration is not None
    assert plan.calibration["event_date"].unique().sort().to_list() == [day(10), day(11), day(12)]
    ensure_daily_model(world.registry, plan, report=lambda _: TrainingReport())

    world.decide(LABELLED)
    nothing_scored_yet = world.row(LABELLED, "fraud-supervised")
    assert nothing_scored_yet["decision"] == "refused"
    assert nothing_scored_yet["evidence"] == {"days": 0, "needed_days": 4}

    def decide(ensemble: str, supervised: str) -> tuple[object, object, object]:
        by_model = {"fraud-daily": ensemble, "fraud-ensemble": ensemble, "fraud-supervised": supervised}
        with world.warehouse.transaction() as connection:
            connection.execute("DELETE FROM scoring.transaction_scores")
            for name, score in by_model.items():
                connection.execute(
                    f"""
                    INSERT INTO scoring.transaction_scores
                    SELECT transaction_id, '{name}', 'batch', event_date, 1, {score}, 0.5, false, event_date
                    FROM features.transaction_features
                    """
                )
        world.decide(LABELLED)
        row = world.row(LABELLED, "fraud-supervised")
        return row["rule"], row["decision"], row["champion_version"]

    policy = POLICIES["balanced"].model_copy(update={"second_stage": "fraud-supervised"})
    nothing_alerts = initial_thresholds(policy, LABELLED).model_copy(
        update={"review_threshold": 1.0, "block_threshold": 1.0}
    )

    def decided_by() -> set[str]:
        """The second stage of the policy that names the supervised model."""
        engine = DecisionEngine(policy_of_day(world.warehouse, policy, LABELLED), nothing_alerts)
        made = decide_day(world.warehouse, world.registry, engine, LABELLED)
        return {versions[-1] for versions in made.rows["model_versions"]}

    def backtest() -> float | None:
        model = plan.fit(plan.schema()[0], "")
        return training_report(model, plan, world.warehouse, world.settings).metrics.get("backtest_average_precision")

    good, bad = "user_z", "-user_z"
    assert backtest() is None
    assert decide(good, good) == ("supervised", "refused", None)
    assert versions_in_use(world.warehouse, LABELLED)["fraud-supervised"] == 1
    assert world.registry.champion("fraud-supervised") is None
    assert decided_by() == {"fraud-ensemble/1"}
    of_good = backtest()
    assert of_good is not None
    assert of_good > 0.3
    assert decide(bad, good) == ("supervised", "promoted", 1)
    assert decided_by() == {"fraud-supervised/1"}
    champion = world.registry.champion("fraud-supervised")
    assert champion is not None
    assert champion.partition == LABELLED
    with world.warehouse.transaction() as connection:
        connection.execute("UPDATE monitoring.model_promotions SET as_of = ?", [day(12)])
    assert decide(good, bad) == ("supervised", "withdrawn", None)
    of_bad = backtest()
    assert of_bad is not None
    assert of_bad < of_good

    # What a version in its cold start scored says little of today's: days held out from that one are ranked.
    with world.warehouse.transaction() as connection:
        connection.execute(
            "INSERT INTO monitoring.model_promotions "
            "SELECT promotion.* "
            "REPLACE (as_of - n::INTEGER AS as_of, 'amount' AS trained_features, 1 AS trained_frauds) "
            "FROM monitoring.model_promotions AS promotion, range(3, 13) AS days(n) "
            "WHERE model_name = 'fraud-supervised' AND as_of = ?",
            [LABELLED],
        )
    assert decide(bad, bad) == ("supervised", "promoted", 1)
    evidence = world.row(LABELLED, "fraud-supervised")["evidence"]
    assert isinstance(evidence, dict)
    assert len(evidence["held_out"]) == 4
    # A day run again takes over what it ranked, until a label that it rests on changes.
    with mock.patch("fraud_pipelines.evaluation.promotion_evidence.rank_held_out_days", return_value={}) as ranked:
        assert decide(bad, bad) == ("supervised", "promoted", 1)
        assert not ranked.called
        with world.warehouse.transaction() as connection:
            connection.execute("UPDATE feedback.labels SET known_at = known_at - INTERVAL 1 HOUR")
        assert decide(bad, bad)[1] != "promoted"
        assert ranked.called


def test_too_few_known_frauds_make_no_supervised_model(world: World) -> None:
    with pytest.raises(MissingData, match=r"frauds are known among .* at least 5000"):
        SupervisedTraining(
            declared=shipped_plan(),
            parameters=BoostedTreesParameters(),
            contamination=0.02,
            label_delay_days=3,
            min_frauds=5000,
            sample_rows=100_000,
        ).plan(world.warehouse, LABELLED)


def test_of_very_many_transactions_the_supervised_model_learns_from_the_frauds_and_a_sample(world: World) -> None:
    def plan(sample_rows: int) -> TrainingPlan:
        return SupervisedTraining(
            declared=shipped_plan(),
            parameters=BoostedTreesParameters(max_iter=5),
            contamination=0.02,
            label_delay_days=3,
            min_frauds=20,
            sample_rows=sample_rows,
        ).plan(world.warehouse, LABELLED)

    whole, sampled = plan(100_000), plan(200)
    assert sampled.features["is_fraud"].sum() == whole.features["is_fraud"].sum()
    assert sampled.features.height < whole.features.height / 2
    assert sampled.rows_in_window == whole.rows_in_window == whole.features.height
    schema = whole.schema()[0]
    of_whole, of_sample = (each.fit(schema, "").detector.arrays()["baseline"] for each in (whole, sampled))
    assert of_sample == pytest.approx(of_whole, abs=1e-9)


def test_where_no_model_beats_the_amount_it_gets_a_version_decides_and_can_be_replayed(world: World) -> None:
    """Frauds are unusual for their user, and of ordinary amounts: a model that looks elsewhere ranks no better."""
    window = training_window(LABELLED, days_with_features(world.warehouse), training_days=3, min_training_days=2)
    features = read_features(world.warehouse, window.days[0], window.days[-1])
    forest = TrainingPlan(
        "isolation_forest",
        LABELLED,
        window,
        features,
        IsolationForestParameters(n_estimators=5),
        contamination=0.02,
        declared=shipped_plan(),
        rows_in_window=features.height,
    )
    ensure_daily_model(world.registry, forest, report=lambda _: TrainingReport())
    with world.warehouse.transaction() as connection:
        connection.execute("DELETE FROM scoring.transaction_scores")
        for name in ("fraud-daily", "fraud-ensemble"):
            connection.execute(
                f"""
                INSERT INTO scoring.transaction_scores
                SELECT transaction_id, '{name}', 'batch', event_date, 1, -user_z, 0.5, false, event_date
                FROM features.transaction_features WHERE event_date < $today
                """,
                {"today": LABELLED},
            )
    for _ in range(2):  # run again, the day's version is found
        promotions = decide_promotions(world.warehouse, world.registry, world.settings, LABELLED)
        record_promotions(world.warehouse, world.registry, promotions, LABELLED)
        (chosen,) = (each for each in promotions if each.deciding_model)
        assert (chosen.deciding_model, chosen.rule, chosen.version) == ("fraud-amount", "amount", "fraud-amount/1")
    champion = world.registry.champion("fraud-amount")
    assert champion is not None
    assert champion.partition == LABELLED
    forest_in_use = world.registry.champion("fraud-daily")
    assert forest_in_use is not None
    assert (forest_in_use.tags["beats_amount"], forest_in_use.tags["decides"]) == ("false", "false")

    in_use = versions_in_use(world.warehouse, LABELLED)
    assert "second_stage" not in in_use
    models = [load_version(world.registry, name, in_use[name]) for name in ("fraud-daily", "fraud-amount")]
    today = read_features(world.warehouse, LABELLED, LABELLED)
    scores = score_day(today, models, day=LABELLED, now=datetime(2026, 9, 20))
    world.warehouse.overwrite("scoring.transaction_scores", scores, event_date=LABELLED, channel="batch")
    engine = engine_in_force(world.warehouse, world.settings, LABELLED)
    made = decide_day(world.warehouse, world.registry, engine, LABELLED)
    record_decisions(
        world.warehouse, made.rows, engine=made.engine, day=LABELLED, channel="batch", now=datetime(2026, 9, 20)
    )
    assert set(made.rows["reason"]) == {"amount"}
    by_amount = made.rows.join(today.select("transaction_id", "amount"), on="transaction_id").sort("amount")
    assert by_amount["score"].is_sorted()
    assert by_amount["decision"][-1] != "approve"
    assert "stands out" in by_amount["reason_codes"][-1][0]
    replays = replay_decisions(world.warehouse, world.registry, made.rows["transaction_id"].to_list())
    assert all(each.equal for each in replays)


def test_a_day_with_too_many_alerts_is_cut_and_each_of_its_decisions_can_be_replayed(world: World) -> None:
    engine = engine_in_force(world.warehouse, world.settings, LABELLED)
    few = engine.policy.model_copy(update={"alert_budget": 2.0, "max_alerts_factor": 1.5, "review_threshold": 0.1})
    alarmed = DecisionEngine(few, initial_thresholds(few, LABELLED))
    made = decide_day(world.warehouse, world.registry, alarmed, LABELLED)
    assert made.rows.filter(pl.col("decision") != "approve").height == 3
    beyond = made.rows.filter(reason="alert_cap")
    assert beyond.height > 3
    assert (beyond["decision"] == "approve").all()
    record_decisions(
        world.warehouse, made.rows, engine=made.engine, day=LABELLED, channel="batch", now=datetime(2026, 9, 21)
    )
    replays = replay_decisions(world.warehouse, world.registry, made.rows["transaction_id"].to_list())
    assert all(each.equal for each in replays)
    assert {each.recorded["reason"] for each in replays} >= {"alert_cap"}
