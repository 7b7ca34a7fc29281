"""The demo, run by its command: what a newcomer finds in Dagster, MLflow and DuckDB afterwards."""

import re
import shutil
import subprocess
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from rich.console import Console

from fraud_pipelines.decisions.replay import replay_decisions
from fraud_pipelines.detection.daily_models import load_daily_model
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.integrity import content_version
from fraud_pipelines.storage.metric_series import MetricSeries, day_step
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.transactions.simulator import SCENARIOS, read_truth
from fraud_pipelines_tests.conftest import Installation, assert_same_content, warehouse_content
from fraud_pipelines_tests.documented import FRESH, run_in, runnable
from fraud_pipelines_tests.locks import held_elsewhere

DAYS = 9
DEMO = ("demo", "--days", str(DAYS), "--users", "150", "--transactions-per-day", "400")
DAILY_ASSETS = (
    "raw/transactions",
    "features/transaction_features",
    "models/isolation_forest",
    "models/suod",
    "models/ecod",
    "models/supervised",
    "models/model_promotion",
    "scoring/transaction_scores",
    "scoring/decisions",
    "feedback/labels",
    "feedback/decision_outcomes",
    "monitoring/model_performance",
    "monitoring/decision_thresholds",
    "monitoring/feature_drift",
    "monitoring/alerts",
    "monitoring/model_comparison",
)
MODELS = ("fraud-daily", "fraud-ensemble", "fraud-realtime")
"""Those that need no labels; the small demo knows too few frauds for the supervised one."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    installation = Installation(tmp_path_factory.mktemp("demo") / "data")
    installation.run(*DEMO)
    return installation


@pytest.fixture(scope="module")
def days(demo: Installation) -> list[date]:
    first = demo.settings.first_partition
    return [first + timedelta(days=n) for n in range(DAYS)]


@pytest.fixture(scope="module")
def registry(demo: Installation) -> ModelRegistry:
    return ModelRegistry(demo.settings.tracking_uri, artifact_root=demo.settings.artifact_root)


def test_every_day_of_every_daily_asset_is_materialized(demo: Installation, days: list[date]) -> None:
    with demo.dagster() as instance:
        for asset in DAILY_ASSETS:
            done = instance.get_materialized_partitions(dg.AssetKey(asset.split("/")))
            assert done == {day.isoformat() for day in days}, asset


def test_what_people_open_is_what_the_demo_stored(demo: Installation) -> None:
    published = warehouse_content(warehouse_at(demo.settings.published_path))
    assert published["scoring.decisions"].height > 0
    assert_same_content(published, warehouse_content(demo.warehouse))


def shown(demo: Installation, asset: str) -> dict[str, dg.MetadataValue]:
    """What the page of an asset shows of its latest day, in order, but for what Dagster shows elsewhere."""
    with demo.dagster() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(asset.split("/")))
    assert event
    assert event.asset_materialization
    metadata = event.asset_materialization.metadata
    return {name: value for name, value in metadata.items() if not name.startswith("dagster/")}


def test_the_page_of_performance_shows_precision_recall_and_the_curve_first(demo: Installation) -> None:
    page = shown(demo, "monitoring/model_performance")
    assert list(page)[:2] == ["performance", "pr_curve"]
    assert "precision" in page or "…" in str(page["performance"].value)
    table = str(page["performance"].value)
    assert len(table) < 1000, "Dagster shows what is shorter without a click"
    assert table.splitlines()[0] == "|  | precision | recall | average precision | recall audited | alerts a day |"
    assert table.splitlines()[2].startswith("| policy:balanced | ")
    assert str(page["pr_curve"].value).startswith("![figure](data:image/svg+xml;base64,")
    assert {"recall", "recall_low", "recall_high"} <= page.keys() or "…" in table
    assert list(page).index("preview") > max(list(page).index(name) for name in ("pr_curve", "alerts_per_day"))


def test_no_page_is_a_list_of_numbers_nor_of_digits(demo: Installation) -> None:
    for asset in DAILY_ASSETS:
        numbers = [value.value for value in shown(demo, asset).values() if isinstance(value, dg.FloatMetadataValue)]
        assert len(numbers) <= 20, asset
        assert all(number is None or float(f"{number:.4g}") == number or number == round(number) for number in numbers)


def test_every_table_of_an_asset_is_shown_with_descriptions(demo: Installation) -> None:
    with demo.dagster() as instance:
        for asset in DAILY_ASSETS:
            event = instance.get_latest_materialization_event(dg.AssetKey(asset.split("/")))
            assert event
            assert event.asset_materialization
            schema = event.asset_materialization.metadata.get("dagster/column_schema")
            if schema:
                assert isinstance(schema, dg.TableSchemaMetadataValue)
                assert [column.name for column in schema.value.columns if not column.description] == [], asset


def test_pages_link_to_the_run_the_version_and_the_case(demo: Installation, registry: ModelRegistry) -> None:
    version = registry.list_versions("fraud-daily")[-1]
    page = shown(demo, "models/isolation_forest")
    assert page["mlflow_run"].value == (
        f"http://127.0.0.1:5000/#/experiments/{registry.experiment_id}/runs/{version.run_id}"
        "?workflowType=machine_learning"
    )
    assert str(page["mlflow_version"].value).startswith(
        f"http://127.0.0.1:5000/#/models/fraud-daily/versions/{version.version}?"
    )
    case = str(shown(demo, "scoring/decisions")["highest_case"].value)
    address, _, transaction = case.partition("/case?id=")
    assert address == "http://127.0.0.1:3001"
    worst = demo.warehouse.read(
        """
        SELECT max(score), max(score) FILTER (transaction_id = $id) FROM scoring.decisions
        WHERE event_date = (SELECT max(event_date) FROM scoring.decisions) AND decision <> 'approve'
        """,
        {"id": transaction},
    ).row(0)
    assert worst[0] == worst[1]


def test_a_run_again_with_nothing_new_leaves_the_version_of_the_data(demo: Installation, days: list[date]) -> None:
    with demo.warehouse.connect(read_only=True) as connection:
        versions = [
            content_version(connection, "raw.transactions", without=["ingested_at", "source"], event_date=day)
            for day in days
        ]
    assert len(set(versions)) == len(days)
    with demo.dagster() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["raw", "transactions"]))
    assert event
    assert event.asset_materialization
    assert (event.asset_materialization.tags or {})["dagster/data_version"] in versions


def test_each_day_and_backend_has_one_version_that_loads_and_says_what_it_is(
    registry: ModelRegistry, days: list[date]
) -> None:
    for name in MODELS:
        versions = registry.list_versions(name)
        assert [version.partition for version in versions] == days
        for version in versions:
            assert {"backend", "training_rows", "feature_schema", "bootstrap"} <= version.tags.keys()
            loaded = load_daily_model(registry, name, version.partition)
            assert loaded.version == version.version
            assert loaded.model.training_rows == int(version.tags["training_rows"])
        assert [version.tags["bootstrap"] for version in versions] == ["true", "true"] + ["false"] * (DAYS - 2)


def versions_in_use(demo: Installation) -> dict[tuple[date, str], int]:
    """Of each day and model: its own version, or the one before where the newer sees the day otherwise."""
    rows = demo.warehouse.read(
        "SELECT as_of, model_name, champion_version FROM monitoring.model_promotions WHERE model_name <> 'second_stage'"
    )
    return {(day, name): version for day, name, version in rows.iter_rows()}


def test_every_transaction_is_scored_and_decided_by_the_models_and_thresholds_of_its_day(demo: Installation) -> None:
    transactions = demo.warehouse.read("SELECT transaction_id FROM raw.transactions ORDER BY 1")
    decisions = demo.warehouse.read("SELECT * FROM scoring.decisions ORDER BY transaction_id")
    thresholds = demo.warehouse.read("SELECT effective_date, review_threshold FROM monitoring.decision_thresholds")
    tuned = dict(thresholds.iter_rows())
    in_use = versions_in_use(demo)

    assert decisions["transaction_id"].equals(transactions["transaction_id"])
    for name in MODELS:
        scored = demo.warehouse.read(
            "SELECT transaction_id FROM scoring.transaction_scores WHERE model_name = ? ORDER BY 1", [name]
        )
        assert scored.equals(transactions)
    for day, threshold, versions in decisions.select("event_date", "review_threshold", "model_versions").iter_rows():
        assert threshold == tuned.get(day, 0.5)
        assert versions == [f"{name}/{in_use[day, name]}" for name in ("fraud-daily", "fraud-ensemble")]
    alerts = decisions.filter(pl.col("decision") != "approve")
    assert alerts.height
    assert alerts["reason_codes"].list.len().min() >= 1  # type: ignore[operator]


def test_the_version_in_use_for_each_day_is_on_record_and_the_aliases_are_those_of_the_last_day(
    demo: Installation, registry: ModelRegistry, days: list[date]
) -> None:
    chosen = demo.warehouse.read(
        "SELECT as_of, deciding_model FROM monitoring.model_promotions WHERE model_name = 'second_stage' ORDER BY as_of"
    )
    assert chosen.rows() == [(day, "fraud-ensemble") for day in days]  # so few frauds are known
    rows = demo.warehouse.read(
        "SELECT * FROM monitoring.model_promotions WHERE model_name <> 'second_stage' ORDER BY model_name, as_of"
    )
    partition_of = {(v.name, v.version): v.partition for name in MODELS for v in registry.list_versions(name)}
    assert rows["as_of"].to_list() == days * len(MODELS)
    assert set(rows["decision"]) <= {"promoted", "refused"}
    assert rows.filter(decision="promoted").height > rows.height / 2
    assert set(rows["rule"]) <= {"no_rival", "bootstrap", "stability"}
    for row in rows.iter_rows(named=True):
        promoted = row["decision"] == "promoted"
        assert row["champion_version"] == row["candidate_version" if promoted else "previous_champion"]
        assert partition_of[row["model_name"], row["candidate_version"]] == row["as_of"]
    for name in MODELS:
        newest = registry.list_versions(name)[-1].version
        champion = versions_in_use(demo)[days[-1], name]
        assert registry.aliases(name) == {"champion": champion, "challenger": newest}


def test_the_models_of_a_day_line_up_in_mlflow_by_parameters_and_metrics(
    demo: Installation, registry: ModelRegistry, days: list[date]
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=demo.settings.tracking_uri)
    seen: set[str] = set()
    in_use = versions_in_use(demo)
    for day in days:
        versions = [registry.latest_for_partition(name, day) for name in MODELS]
        runs = [client.get_run(version.run_id).data for version in versions if version]
        assert len(runs) == len(MODELS)
        assert runs[0].params.keys() == runs[1].params.keys() == runs[2].params.keys()
        assert {"backend", "contamination", "training_rows", "training_days", "features", "trained_to"} <= (
            runs[0].params.keys()
        )
        # Where no alert is a fraud, there is no ratio.
        named = [
            {name for name in run.metrics if not name.endswith("false_positive_ratio")}
            for run, version in zip(runs, versions, strict=True)
            # What didn't score its day is not judged by it.
            if version and in_use[day, version.name] == version.version
        ]
        assert all(metrics == named[0] for metrics in named)
        if not named:
            continue
        assert not any("/" in name for name in named[0]), "what differs by feature or band is a table"
        seen |= named[0]
    assert {"training_alert_share", "backtest_precision", "precision", "alerts", "label_coverage"} <= seen
    assert not {"recall", "average_precision", "cost"} & seen, "few chargebacks are in by then"
    last = registry.latest_for_partition(MODELS[0], days[-1])
    assert last is not None
    for name in MODELS:
        version = registry.latest_for_partition(name, days[-1])
        assert version is not None
        files = {file.path for folder in ("", "plots") for file in client.list_artifacts(version.run_id, folder)}
        assert {
            "plots/score_histogram.svg",
            "plots/pr_curve.svg",
            "contributions.json",
            "score_bands.json",
        } <= files
    over_days = [client.get_run(version.run_id).data.params.keys() for version in registry.list_versions(MODELS[0])]
    assert len(set(map(frozenset, over_days))) == 1


def test_compare_shows_every_model_and_the_amount_alone(demo: Installation, days: list[date]) -> None:
    stored = demo.warehouse.read(
        "SELECT model_name, average_precision FROM monitoring.model_comparison WHERE as_of = ? ORDER BY rank",
        [days[-1]],
    )
    assert set(stored["model_name"]) == {*MODELS, "amount"}

    shown = demo.invoke("compare")

    by_name = {line.split()[0]: line for line in reversed(shown.splitlines()) if line.strip()}
    for name, precision in stored.iter_rows():
        assert ("–" if precision is None else f"{precision:.3f}") in by_name[name]
    assert str(days[-1] - timedelta(days=demo.settings.label_delay_days)) in shown
    assert "Give both --from and --to" in demo.invoke("compare", "--from", str(days[0]), succeeds=False)
    before = ("--from", "2020-01-01", "--to", "2020-01-02")
    assert "No scores are stored for 2020-01-01" in demo.invoke("compare", *before, succeeds=False)


def test_versions_are_listed_with_what_was_decided_and_can_be_pinned(
    demo: Installation, registry: ModelRegistry
) -> None:
    newest = registry.list_versions("fraud-realtime")[-1]
    listed = demo.invoke("models", "list", "fraud-realtime", "--most", "2")
    assert f"newest 2 of {DAYS}" in listed
    assert "champion" in listed
    assert str(newest.partition) in listed
    assert "promoted" in listed
    assert "the models are fraud-daily" in demo.invoke("models", "list", "fraud-dayly", succeeds=False)

    assert "No version of fraud-realtime is pinned" in demo.invoke("models", "unpin", "fraud-realtime", succeeds=False)
    assert "no version 99" in demo.invoke("models", "pin", "fraud-realtime", "99", succeeds=False)
    demo.invoke("models", "pin", "fraud-realtime", "2", "--by", "ann", "--reason", "drill")
    pinned = registry.version_with_alias("fraud-realtime", "pinned")
    assert pinned is not None
    assert (pinned.version, pinned.tags["pinned_by"], pinned.tags["pinned_reason"]) == (2, "ann", "drill")
    assert "pinned" in demo.invoke("models", "list", "fraud-realtime", "--most", "1")
    demo.invoke("models", "unpin", "fraud-realtime")
    assert "pinned" not in registry.aliases("fraud-realtime")


def test_labels_come_back_and_performance_is_measured_once_days_have_matured(
    demo: Installation, days: list[date]
) -> None:
    delay = demo.settings.label_delay_days
    measured = demo.warehouse.read("SELECT DISTINCT as_of FROM monitoring.model_performance ORDER BY 1").to_series()
    early = demo.warehouse.read(
        "SELECT count(*) FROM feedback.labels l JOIN raw.transactions t USING (transaction_id) "
        "WHERE l.known_at < t.timestamp + INTERVAL 1 DAY"
    ).item()

    assert measured.to_list() == days[delay:]
    assert early == 0
    assert demo.warehouse.read("SELECT count(*) FROM feedback.decision_outcomes").item() > 0


def test_a_matured_day_is_judged_when_it_matures_a_week_later_and_at_last_in_the_run_that_trained_its_model(
    demo: Installation, registry: ModelRegistry, days: list[date]
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=demo.settings.tracking_uri)
    for name in MODELS:
        for version in registry.list_versions(name):
            scored = versions_in_use(demo)[version.partition, name] == version.version
            matured = version.partition <= days[-1] - timedelta(days=demo.settings.label_delay_days)
            metrics = client.get_run(version.run_id).data.metrics
            assert ("transactions" in metrics) == (matured and scored)
            assert "training_alert_share" in metrics
            ages = [metric.step for metric in client.get_metric_history(version.run_id, "transactions")]
            delay, window = demo.settings.label_delay_days, demo.settings.evaluation_days
            age_now = (days[-1] - version.partition).days
            read_at = [age for age in (delay, delay + 7, delay + window - 1) if age <= age_now]
            assert ages == (read_at if scored else [])


def test_a_hundred_decisions_of_all_days_come_out_equal_when_made_again_and_their_log_verifies(
    demo: Installation, registry: ModelRegistry
) -> None:
    decided = demo.warehouse.read("SELECT transaction_id, decision, audited FROM scoring.decisions ORDER BY ALL")
    alerts = decided.filter((pl.col("decision") != "approve") | pl.col("audited"))["transaction_id"]
    chosen = pl.concat([alerts, decided["transaction_id"].sample(100, seed=1)]).unique().to_list()

    replays = replay_decisions(demo.warehouse, registry, chosen, plan=plan_in_force(demo.settings))

    assert {each.transaction_id: each.differences for each in replays} == dict.fromkeys(chosen, ())
    assert len({each.event_date for each in replays}) == DAYS
    assert "Nothing was changed" in demo.invoke("audit")


def test_the_audit_sample_is_reviewed_and_tells_what_was_let_through(demo: Installation, days: list[date]) -> None:
    """Ten a day of four hundred: the interval contains the number of frauds that were approved."""
    daily = demo.warehouse.read(
        """
        SELECT event_date, count(*) FILTER (audited) AS drawn, sum(audit_probability) AS expected,
               count(*) FILTER (decision <> 'approve' AND audit_probability IS NOT NULL) AS alerts_drawn
        FROM scoring.decisions WHERE channel = 'batch' GROUP BY ALL ORDER BY ALL
        """
    )
    assert daily["expected"].to_list() == pytest.approx([10.0] * DAYS)
    assert 60 <= daily["drawn"].sum() <= 120
    assert daily["alerts_drawn"].sum() == 0
    unjudged = demo.warehouse.read(
        """
        SELECT DISTINCT event_date FROM scoring.decisions
        WHERE audited AND transaction_id NOT IN (SELECT transaction_id FROM feedback.labels WHERE source = 'review')
        """
    )
    assert unjudged.to_series().to_list() == days[-1:]

    rows = demo.warehouse.read("SELECT * FROM monitoring.audit_performance ORDER BY as_of")
    assert rows["as_of"].to_list() == days
    figures = rows.row(-1, named=True)
    frauds = read_truth(demo.settings.simulation_dir).filter("is_fraud")["transaction_id"]
    window = pl.col("event_date").is_between(figures["window_start"], figures["window_end"])
    approved = demo.warehouse.read(
        "SELECT transaction_id, event_date FROM scoring.decisions WHERE decision = 'approve'"
    )
    truth = approved.filter(window).filter(pl.col("transaction_id").is_in(frauds.implode())).height
    assert figures["frauds_let_through_low"] <= truth <= figures["frauds_let_through_high"]
    # Those of the last day are reviewed tomorrow.
    assert figures["audited"] == daily.filter(window)["drawn"][:-1].sum()
    thresholds = demo.warehouse.read(
        "SELECT * FROM monitoring.audited_thresholds WHERE as_of = ? ORDER BY review_threshold", [days[-1]]
    )
    assert thresholds["alerts"].is_sorted(descending=True)
    assert thresholds["recall"].is_sorted(descending=True)
    assert "What the audit sample tells" in demo.invoke("status")


def test_mlflow_shows_performance_over_the_days_with_the_day_as_step(demo: Installation) -> None:
    series = MetricSeries(demo.settings.tracking_uri)
    for name in (*MODELS, "policy:balanced"):
        measured = demo.warehouse.read(
            "SELECT as_of, alerts_per_day FROM monitoring.model_performance WHERE model_name = ? ORDER BY as_of",
            [name],
        )
        assert measured.height == DAYS - demo.settings.label_delay_days
        assert series.points(f"{name} batch", "alerts_per_day") == measured.rows()
        assert series.points(f"{name} batch", "recall") == [], "few chargebacks are in by then"


def test_a_day_logged_again_corrects_its_point_and_no_other(demo: Installation, days: list[date]) -> None:
    series = MetricSeries(demo.settings.tracking_uri, experiment="test", artifact_root=demo.settings.artifact_root)
    for day, value in zip((days[0], days[1], days[0], days[0]), (0.25, 0.5, 0.125, 0.125), strict=True):
        series.log({"policy": {"precision": value}}, day=day)
    assert series.points("policy", "precision") == [(days[0], 0.125), (days[1], 0.5)]
    assert day_step(date(1970, 1, 2)) == 1


def test_young_days_are_read_early_and_the_kinds_of_fraud_apart(demo: Installation, days: list[date]) -> None:
    early = demo.warehouse.read("SELECT DISTINCT as_of, window_end FROM monitoring.early_performance ORDER BY ALL")
    kinds = demo.warehouse.read(
        "SELECT DISTINCT scenario FROM monitoring.scenario_performance WHERE model_name = 'policy:balanced'"
    ).to_series()

    assert early.rows() == [(day, day) for day in days]
    assert kinds.len() > 0
    assert set(kinds) <= set(SCENARIOS)


def test_pruning_keeps_what_is_young_and_what_replay_needs(demo: Installation, registry: ModelRegistry) -> None:
    versions = {name: len(registry.list_versions(name)) for name in MODELS}
    told = demo.invoke("prune", FRAUD_KEEP_VERSION_DAYS="1", FRAUD_KEEP_RUN_DAYS="1")
    assert "model versions" in told
    assert {name: len(registry.list_versions(name)) for name in MODELS} == versions, "made today"
    before = warehouse_content(demo.warehouse)
    demo.invoke("compact")
    assert "nothing to do" in demo.invoke("compact")
    assert_same_content(before, warehouse_content(demo.warehouse))


def test_to_run_a_day_again_changes_nothing(demo: Installation, registry: ModelRegistry, days: list[date]) -> None:
    before = warehouse_content(demo.warehouse)
    versions = {name: registry.list_versions(name) for name in MODELS}
    middle = days[DAYS // 2].isoformat()

    with held_elsewhere(demo.settings.published_path):  # a notebook that was left open holds up no run
        demo.invoke("run", "--from", middle, "--to", middle, FRAUD_WAREHOUSE_WAIT_SECONDS="1")

    assert_same_content(before, warehouse_content(warehouse_at(demo.settings.published_path)))
    assert_same_content(before, warehouse_content(demo.warehouse))
    assert {name: registry.list_versions(name) for name in MODELS} == versions


def test_a_backup_made_during_a_run_is_restored_elsewhere_and_decides_alike(
    demo: Installation, days: list[date], tmp_path: Path
) -> None:
    day = str(days[-1])
    running = subprocess.Popen(demo.command("run", "--from", day, "--to", day), env=demo.environment)
    demo.invoke("backup", str(tmp_path / "backup"))
    assert running.wait(timeout=600) == 0
    restored = Installation(tmp_path / "other" / "data")
    restored.invoke("restore", str(tmp_path / "backup"))
    hidden = demo.data_dir.rename(demo.data_dir.with_name("hidden"))
    try:
        for of_day in (days[1], days[-1]):
            decided = restored.warehouse.read(
                "SELECT min(transaction_id) FROM scoring.decisions WHERE event_date = ?", [of_day]
            ).item()
            assert "comes out equal" in restored.invoke("replay", decided)
    finally:
        hidden.rename(demo.data_dir)
    # To run the day again changed nothing, so both are alike whichever moment the backup is of.
    assert_same_content(warehouse_content(demo.warehouse), warehouse_content(restored.warehouse))


def test_the_demo_again_finds_its_days_done(demo: Installation) -> None:
    before = warehouse_content(demo.warehouse)

    output = demo.invoke(*DEMO)

    assert f"{DAYS} days are done already" in output
    assert "review queue" in output.lower()
    truth = read_truth(demo.settings.simulation_dir).filter("is_fraud")
    largest = truth["scenario"].value_counts(sort=True)["scenario"][0]
    assert f"{largest} " in output.split("Caught, by kind of fraud")[1]
    days_shown = [line for line in output.splitlines() if re.match(r"\d\d-\d\d ", line)]
    assert len(days_shown) == DAYS
    assert all("…" in line for line in days_shown), "no recall while chargebacks are to come"
    assert any(re.search(r"\d%", line.split("…")[1]) for line in days_shown), "the truth beside it"
    assert_same_content(before, warehouse_content(demo.warehouse))


def test_a_copy_of_the_data_runs_by_itself_and_so_does_one_that_was_moved(
    demo: Installation, days: list[date], tmp_path: Path
) -> None:
    copy = Installation(tmp_path / "copy")
    shutil.copytree(demo.data_dir, copy.data_dir)
    before = {path: path.stat().st_mtime_ns for path in demo.data_dir.rglob("*")}
    last = days[-1].isoformat()
    # Another policy has another contamination: every model is trained anew.
    copy.run("run", "--from", last, "--to", last, FRAUD_POLICY="high_security")
    assert {path: path.stat().st_mtime_ns for path in demo.data_dir.rglob("*")} == before

    moved = Installation(copy.data_dir.rename(tmp_path / "moved"))
    decided = moved.warehouse.read("SELECT transaction_id FROM scoring.decisions WHERE event_date = ?", [days[-1]])
    moved.invoke("replay", decided["transaction_id"][0])
    assert not copy.data_dir.exists()


def test_a_day_without_input_or_before_the_first_fails_with_one_message_and_changes_nothing(
    demo: Installation, days: list[date]
) -> None:
    before = warehouse_content(demo.warehouse)
    earlier = (days[0] - timedelta(days=1)).isoformat()

    output = demo.invoke("run", "--from", earlier, "--to", earlier, succeeds=False)

    assert f"{earlier} lies before the first partition" in output
    assert "Traceback" not in output
    output = demo.run("run", "--from", earlier, "--to", earlier, succeeds=False, FRAUD_FIRST_DAY=earlier)
    assert f"no transactions of {earlier}" in output
    assert "Traceback" not in output
    assert_same_content(before, warehouse_content(demo.warehouse))


def test_mlflow_out_of_reach_fails_with_one_message_and_leaves_the_tables(demo: Installation, days: list[date]) -> None:
    before = warehouse_content(demo.warehouse)
    day = days[-1].isoformat()

    output = demo.invoke("run", "--from", day, "--to", day, succeeds=False, MLFLOW_TRACKING_URI="http://127.0.0.1:9")

    assert "http://127.0.0.1:9" in output
    assert "Traceback" not in output
    assert_same_content(before, warehouse_content(demo.warehouse))


def test_where_to_look_is_told_without_the_password_of_the_mlflow_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fraud_pipelines.cli import demo

    settings = Settings(data_dir=tmp_path, mlflow_tracking_uri="https://analyst:s3cret@mlflow.example")
    warehouse_at(settings.warehouse_path).initialise()
    monkeypatch.setattr(demo, "console", Console(record=True, width=200))
    demo._show_places(settings)

    shown = demo.console.export_text()
    assert "https://mlflow.example" in shown
    assert "s3cret" not in shown


@pytest.mark.parametrize("page", sorted(runnable().keys() - set(FRESH)))
def test_the_commands_of_the_docs_run_on_a_demo(
    page: str, demo: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_in(tmp_path, runnable()[page], demo)
