"""``fraud-pipelines demo``: thirty simulated days through Dagster, and a table of what came out."""

import shutil
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from fraud_pipelines.bootstrap import live_warehouse
from fraud_pipelines.cli.terminal import terminal
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.pages import training_view
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.mlflow_connection import without_password
from fraud_pipelines.storage.model_registry import ModelRegistry

console = terminal()

AUDIT_PER_DAY: Final = 10
_POLICIES: Final = """\
# Made by fraud-pipelines demo: some approved payments are reviewed all the same (docs/decisions.md#the-audit-sample).
policies:
  {policy}:
    audit_per_day: {audit_per_day}
"""


def run_demo(settings: Settings, *, days: int, users: int, transactions_per_day: int, seed: int, fresh: bool) -> None:
    """Simulate, run every day that is not done yet, and show the result.

    A demo that was interrupted goes on where it stopped. Data that no demo made is left alone.

    Raises:
        InvalidInput: the data directory holds something else than a demo, or the policy or the rules can't be used;
            what an earlier demo left is still there.
        FraudPipelinesError: a day failed.
    """
    from fraud_pipelines.bootstrap import prepare
    from fraud_pipelines.cli.daily_runs import DailyRuns
    from fraud_pipelines.cli.report import show_days
    from fraud_pipelines.cli.run import run_day, track
    from fraud_pipelines.cli.simulation import SimulatedAnswers
    from fraud_pipelines.decisions.configuration import policy_in_force, rules_in_force
    from fraud_pipelines.transactions.simulator import (
        Simulation,
        SimulationConfig,
        simulate_days,
        write_landing,
        write_truth,
    )

    policy_in_force(settings)
    rules_in_force(settings)
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    config = SimulationConfig(
        first_day=yesterday - timedelta(days=days - 1),
        days=days,
        users=users,
        transactions_per_day=transactions_per_day,
        seed=seed,
    )
    marker = settings.simulation_dir / "demo.json"
    if fresh and marker.exists():
        _clear(settings)
    if marker.exists():
        wanted, config = config, SimulationConfig.model_validate_json(marker.read_text())
        if wanted.model_copy(update={"first_day": config.first_day}) != config:
            console.print("This demo was begun with other options, which it keeps; --fresh starts over with yours.")
    elif settings.warehouse_path.exists() or settings.published_path.exists():
        raise InvalidInput(
            f"{settings.data_dir} holds data that is not the demo's. Choose another place for the demo: "
            "FRAUD_DATA_DIR=demo-data make demo"
        )
    with console.status("Preparing the warehouse, MLflow and Dagster ..."):
        settings.simulation_dir.mkdir(parents=True, exist_ok=True)
        if not marker.exists():
            _draw_audit_sample(settings)
        marker.write_text(config.model_dump_json())
        settings.note_first_day(config.first_day)
        prepare(settings)
    with console.status("Simulating transactions ..."):
        simulated = {config.first_day + timedelta(days=n): day for n, day in enumerate(simulate_days(config))}
        truth = pl.concat(day.truth for day in simulated.values())
        write_truth(
            Simulation(pl.concat(day.transactions for day in simulated.values()), truth), settings.simulation_dir
        )
    console.print(
        f"Simulated {truth.height:,} transactions of {config.users:,} users, {config.first_day} to "
        f"{config.last_day}, {truth['is_fraud'].sum():,} of them fraudulent."
    )
    answers = SimulatedAnswers(settings, truth)
    with DailyRuns(settings, command="demo", tell=console.print) as runs:
        remaining = [day for day in simulated if not runs.is_done(day)]
        if len(remaining) < config.days:
            console.print(f"{config.days - len(remaining)} days are done already (--fresh starts over).")
        for day in track(remaining, "Running day"):
            write_landing(simulated[day], settings.landing_transactions)
            answers.drop_labels(day)
            run_day(runs, day)
    show_days(settings, config.first_day, config.last_day, truth=truth)
    _show_places(settings)


def _show_places(settings: Settings) -> None:
    waiting = live_warehouse(settings).read("SELECT count(*) FROM scoring.review_queue").item()
    console.print(f"Tables        {settings.published_path}")
    console.print(f"Review queue  scoring.review_queue, {waiting} transactions wait for a verdict")
    console.print(f"Models        fraud-daily and fraud-ensemble in MLflow, {without_password(settings.tracking_uri)}")
    console.print(
        "Look at it    make up   (Dagster http://127.0.0.1:3000, MLflow http://127.0.0.1:5000, "
        "review page http://127.0.0.1:3001)"
    )
    if settings.mlflow_database:
        registry = ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root)
        console.print(f"Training runs {training_view(settings, registry.experiment_id)}")


def _draw_audit_sample(settings: Settings) -> None:
    """Let the policy draw an audit sample, unless there is a file of policies already."""
    if settings.policies_path is None:
        text = _POLICIES.format(policy=settings.policy, audit_per_day=AUDIT_PER_DAY)
        (settings.data_dir / "policies.yaml").write_text(text)


def _clear(settings: Settings) -> None:
    """Remove what a demo makes: its files in the landing zone, the warehouse, the models and the run history."""
    for folder in (settings.landing_transactions, settings.landing_labels):
        for file in folder.rglob("????-??-??.parquet*"):
            file.unlink()
    for path in (settings.simulation_dir, settings.mlflow_dir, settings.data_dir / "dagster"):
        shutil.rmtree(path, ignore_errors=True)
    live, published = settings.warehouse_path, settings.published_path
    # The published one first: without the live one, it would become that.
    for path in (*published.parent.glob(f"{published.name}*"), *live.parent.glob(f"{live.name}*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (settings.data_dir / "first_day").unlink(missing_ok=True)
