"""Daily use from the shell: take in files, run days, meet late and broken input."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from unittest import mock

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraud_pipelines.cli.daily_runs import DailyRuns
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.schema import TRANSACTION_COLUMNS
from fraud_pipelines.transactions.simulator import Simulation, SimulationConfig, simulate
from fraud_pipelines_tests.conftest import Installation, assert_same_content, warehouse_content

FIRST = datetime.now(UTC).date() - timedelta(days=4)
SECOND = FIRST + timedelta(days=1)


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(SimulationConfig(first_day=FIRST, days=2, users=60, transactions_per_day=200))


def run_days(installation: Installation, first: date, last: date, *, succeeds: bool = True) -> str:
    return installation.invoke("run", "--from", first.isoformat(), "--to", last.isoformat(), succeeds=succeeds)


def stale_days(warehouse: Warehouse) -> list[date]:
    return warehouse.read("SELECT DISTINCT event_date FROM raw.stale_days ORDER BY 1").to_series().to_list()


@pytest.mark.slow
def test_late_transactions_mark_their_day_until_it_is_run_again(
    installation: Installation, simulation: Simulation, tmp_path: Path
) -> None:
    late = simulation.transactions.filter(pl.col("timestamp").dt.date() == FIRST).tail(3)
    in_time = simulation.transactions.join(late, on="transaction_id", how="anti")
    in_time.write_csv(tmp_path / "in_time.csv", datetime_format="%Y-%m-%dT%H:%M:%S%.f")
    late.write_ndjson(tmp_path / "late.jsonl")
    installation.invoke("import", str(tmp_path / "in_time.csv"))
    assert "not decided yet: none" not in installation.invoke("status")
    told = run_days(installation, FIRST, SECOND)
    for day, payments in in_time.group_by(pl.col("timestamp").dt.date()).len().iter_rows():
        assert f"{day}  {payments:,} payments, " in told
    assert f"Done: {FIRST} to {SECOND}, 2 days run." in told
    assert "not decided yet: none" in installation.invoke("status")
    assert stale_days(installation.warehouse) == []

    taken_in = installation.invoke("import", str(tmp_path / "late.jsonl"))

    assert f"stale now: {FIRST}" in taken_in
    assert stale_days(installation.warehouse) == [FIRST]
    status = installation.invoke("status")
    assert FIRST.isoformat() in status
    assert "3 transactions arrived late" in status
    run_days(installation, FIRST, FIRST)
    decided = installation.warehouse.read("SELECT transaction_id FROM scoring.decisions").to_series()
    assert set(late["transaction_id"]) <= set(decided)
    # The second day's features came from the first day's histories, which are others now.
    assert stale_days(installation.warehouse) == [SECOND]
    run_days(installation, SECOND, SECOND)
    assert stale_days(installation.warehouse) == []


@pytest.mark.slow
def test_the_tables_after_a_late_delivery_are_those_of_a_timely_one(
    installation: Installation, simulation: Simulation, tmp_path: Path
) -> None:
    timely = Installation(tmp_path / "timely")
    day = pl.col("timestamp").dt.date()
    first, second = (simulation.transactions.filter(day == each) for each in (FIRST, SECOND))
    for name, part in (("a", first.head(150)), ("b", first.tail(first.height - 150)), ("c", second)):
        part.write_parquet(tmp_path / f"{name}.parquet")
    for name in ("a", "b", "c"):
        timely.invoke("import", str(tmp_path / f"{name}.parquet"))
    run_days(timely, FIRST, SECOND)
    for name in ("a", "c"):
        installation.invoke("import", str(tmp_path / f"{name}.parquet"))
    run_days(installation, FIRST, SECOND)

    installation.invoke("import", str(tmp_path / "b.parquet"))
    run_days(installation, FIRST, SECOND)

    for table in ("features.transaction_features", "features.user_history"):
        left, right = (warehouse_content(each.warehouse)[table] for each in (timely, installation))
        assert left.equals(right, null_equal=True), table
    scores = "SELECT transaction_id, model_name, raw_score, score FROM scoring.transaction_scores ORDER BY ALL"
    assert timely.warehouse.read(scores).equals(installation.warehouse.read(scores))


@pytest.mark.slow
def test_a_decision_that_comes_out_differently_leaves_a_trace(
    installation: Installation, simulation: Simulation, tmp_path: Path
) -> None:
    simulation.transactions.write_parquet(tmp_path / "all.parquet")
    installation.invoke("import", str(tmp_path / "all.parquet"))
    run_days(installation, FIRST, FIRST)
    before = installation.warehouse.read("SELECT * EXCLUDE decided_at FROM scoring.decisions ORDER BY ALL")

    installation.invoke("run", "--from", FIRST.isoformat(), "--to", FIRST.isoformat(), FRAUD_POLICY="high_security")

    log = "SELECT * EXCLUDE decided_at FROM scoring.decision_revisions WHERE revision = {} ORDER BY ALL"
    first, second = (installation.warehouse.read(log.format(revision)) for revision in (1, 2))
    policies = installation.warehouse.read("SELECT DISTINCT policy FROM scoring.decisions").to_series().to_list()
    assert first.select(before.columns).sort("transaction_id").equals(before.sort("transaction_id"))
    assert second.height == first.height
    assert policies == second["policy"].unique().to_list() == ["high_security"]


@pytest.mark.slow
def test_duplicate_keys_stop_the_day_before_anything_is_derived_from_them(
    installation: Installation, simulation: Simulation, tmp_path: Path
) -> None:
    simulation.transactions.write_parquet(tmp_path / "all.parquet")
    installation.invoke("import", str(tmp_path / "all.parquet"))
    run_days(installation, FIRST, FIRST)
    with installation.warehouse.transaction() as connection:
        connection.execute(
            "INSERT INTO raw.transactions SELECT * FROM raw.transactions WHERE event_date = ? LIMIT 1", [FIRST]
        )
    before = warehouse_content(installation.warehouse)

    output = run_days(installation, FIRST, FIRST, succeeds=False)

    assert "transaction_ids_are_unique" in output
    assert_same_content(before, warehouse_content(installation.warehouse))


@pytest.mark.slow
def test_an_unreadable_file_in_the_landing_zone_fails_the_day_and_names_the_file(
    installation: Installation, simulation: Simulation, tmp_path: Path
) -> None:
    simulation.transactions.write_parquet(tmp_path / "all.parquet")
    installation.invoke("import", str(tmp_path / "all.parquet"))
    run_days(installation, FIRST, FIRST)
    before = warehouse_content(installation.warehouse)
    (installation.settings.landing_transactions / "broken.parquet").write_bytes(b"PAR1 and nothing more")

    output = run_days(installation, FIRST, FIRST, succeeds=False)

    assert "broken.parquet" in output
    assert "Traceback" not in output
    after = warehouse_content(installation.warehouse)
    told = after["monitoring.alerts"].filter(kind="landing")
    assert "broken.parquet" in told["message"].item()
    after["monitoring.alerts"] = after["monitoring.alerts"].filter(pl.col("kind") != "landing")
    assert after.pop("raw.landing_problems")["name"].item() == "broken.parquet"
    assert before.pop("raw.landing_problems").is_empty()
    assert_same_content(before, after)


def test_a_setting_out_of_range_is_named(installation: Installation) -> None:
    output = installation.invoke("status", succeeds=False, FRAUD_TRAINING_DAYS="0")

    assert "FRAUD_TRAINING_DAYS" in output
    assert "Traceback" not in output


def test_a_demo_with_an_unknown_policy_leaves_the_earlier_one_alone(installation: Installation) -> None:
    left = installation.settings.simulation_dir / "demo.json"
    left.parent.mkdir(parents=True)
    left.write_text("{}")

    output = installation.invoke("demo", "--fresh", succeeds=False, FRAUD_POLICY="lenient")

    assert "no policy is named 'lenient'; choose one of balanced, " in output
    assert "Traceback" not in output
    assert left.read_text() == "{}"


@pytest.mark.slow
def test_an_import_that_breaks_off_leaves_its_days_runnable(
    installation: Installation, simulation: Simulation, tmp_path: Path
) -> None:
    day = pl.col("timestamp").dt.date()
    folder = tmp_path / "folder"
    folder.mkdir()
    simulation.transactions.filter(day == FIRST).write_parquet(folder / "a.parquet")
    (folder / "b.parquet").write_bytes(b"PAR1 and nothing more")

    output = installation.invoke("import", str(folder), succeeds=False)

    assert "b.parquet" in output
    run_days(installation, FIRST, FIRST)


def test_a_range_passes_over_a_day_without_transactions(
    installation: Installation, simulation: Simulation, tmp_path: Path
) -> None:
    second = simulation.transactions.filter(pl.col("timestamp").dt.date() == SECOND)
    second.write_parquet(tmp_path / "second.parquet")
    installation.invoke("import", str(tmp_path / "second.parquet"))
    empty = SECOND + timedelta(days=1)

    output = run_days(installation, SECOND, empty)

    assert f"{empty} has no transactions; passed over" in output
    assert "1 days run, 1 without transactions passed over" in output
    assert f"no transactions of {empty}" in run_days(installation, empty, empty, succeeds=False)


def test_labels_of_tomorrow_are_in_no_view_of_today(
    installation: Installation, simulation: Simulation, tmp_path: Path
) -> None:
    simulation.transactions.write_parquet(tmp_path / "all.parquet")
    installation.invoke("import", str(tmp_path / "all.parquet"))
    run_days(installation, FIRST, FIRST)
    with installation.warehouse.transaction() as connection:
        connection.execute(
            "UPDATE scoring.decisions SET decision = 'review' WHERE transaction_id IN "
            "(SELECT transaction_id FROM scoring.decisions ORDER BY score DESC LIMIT 3)"
        )
    waiting = installation.warehouse.read("SELECT transaction_id FROM scoring.review_queue").to_series().to_list()
    assert len(waiting) >= 3

    with installation.warehouse.transaction() as connection:
        connection.execute(
            "INSERT INTO feedback.labels BY NAME SELECT ? AS transaction_id, 'chargeback' AS source, "
            "true AS actual_fraud, now()::TIMESTAMP + INTERVAL 3 DAY AS known_at, now()::TIMESTAMP AS ingested_at",
            [waiting[0]],
        )

    queue = installation.warehouse.read("SELECT transaction_id FROM scoring.review_queue").to_series().to_list()
    known = installation.warehouse.read("SELECT count(actual_fraud) FROM feedback.decision_log").item()
    assert queue == waiting
    assert known == 0


def test_a_day_after_one_that_was_never_run_is_refused_or_runs_with_the_features_of_that_one(
    installation: Installation, simulation: Simulation, tmp_path: Path
) -> None:
    simulation.transactions.write_parquet(tmp_path / "all.parquet")
    installation.invoke("import", str(tmp_path / "all.parquet"))
    only_second = ("run", "--from", SECOND.isoformat(), "--to", SECOND.isoformat())

    refused = installation.invoke(*only_second, succeeds=False)

    assert f"{FIRST} has transactions" in refused
    assert "--with-earlier" in refused
    assert installation.warehouse.read("FROM scoring.decisions").is_empty()
    with (
        mock.patch.dict(
            os.environ, installation.environment | {"DAGSTER_HOME": str(installation.settings.dagster_home)}
        ),
        DailyRuns(installation.settings, command="run", tell=print) as runs,
    ):
        failure = runs.run(SECOND).failure
    assert failure
    assert f"features__transaction_features: The features of {SECOND}" in failure
    assert f"{FIRST} has transactions" in failure

    output = installation.invoke(*only_second, "--with-earlier")

    assert f"Derived the features of {FIRST}" in output
    features, _ = compute_features(simulation.transactions.select(list(TRANSACTION_COLUMNS)))
    stored = installation.warehouse.read(
        "FROM features.transaction_features ORDER BY user_id, timestamp, transaction_id"
    )
    assert_frame_equal(stored, features.select(stored.columns))
    decided = installation.warehouse.read("SELECT DISTINCT event_date FROM scoring.decisions")
    assert decided["event_date"].to_list() == [SECOND]
    key = dg.AssetKey(["features", "transaction_features"])
    with installation.dagster() as instance:
        assert instance.get_materialized_partitions(key) == {FIRST.isoformat(), SECOND.isoformat()}
