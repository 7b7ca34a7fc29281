"""What Dagster and MLflow take after a year of days that are pruned: their stores are filled as the demo fills them.

``python benchmarks/retention.py DATA --days 400`` takes a data directory that ``fraud-pipelines demo`` has made, and
works on a copy. Nothing is trained and no day is run: each simulated day logs the models of the demo's last day as new
versions, by the registry itself, and copies the rows and files of the demo's last run of Dagster under new names and
dates. Of the models of a day, the isolation forest and the supervised one count as having decided, so that replay needs
them, as in the demo. What MLflow needs to serve a version, nine small files and a link to the code, is left out, since
it takes most of the time. Every tenth day is pruned, and the days of which figures are printed are pruned as well.
"""

import argparse
import os
import shutil
import sqlite3
import tempfile
import time
import uuid
import warnings
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

TOLD = (30, 60, 100, 200, 300, 400)
DECIDING = ("fraud-daily", "fraud-supervised")
MODELS = ("fraud-daily", "fraud-ensemble", "fraud-realtime", "fraud-supervised")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--only", choices=["dagster", "mlflow"], help="fill only one of the stores")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        shutil.copytree(arguments.data, data)
        os.environ |= {"FRAUD_DATA_DIR": str(data), "DAGSTER_HOME": str(data / "dagster")}
        simulate(data, arguments.days, arguments.only)


def simulate(data: Path, days: int, only: str | None) -> None:
    import dagster as dg

    from fraud_pipelines.defs.pruned_runs import prune_runs, shrink_databases
    from fraud_pipelines.settings import Settings
    from fraud_pipelines.storage.model_registry import ModelRegistry
    from fraud_pipelines.storage.pruned import bytes_of
    from fraud_pipelines.storage.pruned_versions import prune_versions

    settings = Settings.from_environment()
    registry = ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root)
    log = Versions(registry)
    begun, needed = datetime.now(UTC).replace(tzinfo=None), set[tuple[str, int]]()
    print(" day  seconds  Dagster MB  MLflow MB  of it kept for replay   files")
    with dg.DagsterInstance.get() as instance:
        run = instance.get_runs(dg.RunsFilter(job_name="fraud_daily_job"), limit=1)[0].run_id
        for number in range(1, days + 1):
            now = begun + timedelta(days=number)
            if only != "dagster":
                needed |= log.day(now.date())
            if only != "mlflow":
                run = copy_run(data / "dagster", run, now)
            if number % 10 and number not in TOLD:
                continue
            clock = time.monotonic()
            prune_runs(instance, kept_days=60, kept_stream_days=2, now=now, dry_run=False)
            shrink_databases(instance)
            prune_versions(registry, needed, kept_days=60, now=now, dry_run=False)
            seconds = time.monotonic() - clock
            if number in TOLD:
                old = (now - timedelta(days=60)).date()
                replay = sum(size for day, size in log.deciding.items() if day < old)
                files = sum(len(names) for _, _, names in os.walk(data / "mlflow"))
                files += sum(len(names) for _, _, names in os.walk(data / "dagster"))
                sizes = (bytes_of(data / "dagster"), bytes_of(data / "mlflow"), replay)
                dagster, mlflow, kept = (size / 1e6 for size in sizes)
                print(f"{number:4} {seconds:8.1f} {dagster:11.1f} {mlflow:10.1f} {kept:22.1f} {files:7}", flush=True)
    if needed:
        registry.download(*min(needed, key=lambda version: version[1]))


class Versions:
    """Logs the models of the demo's last day again, as those of other days."""

    def __init__(self, registry) -> None:  # type: ignore[no-untyped-def]
        from fraud_pipelines.detection.model import FraudModel

        self.registry = registry
        self.deciding: dict[date, int] = {}
        self.folders = {}
        for name in MODELS:
            folder = registry.download(name, registry.list_versions(name)[-1].version)
            # Saved anew, as this release saves it.
            model = FraudModel.load(folder)
            self.folders[name] = Path(tempfile.mkdtemp()) / "model"
            model.save(self.folders[name])

    def day(self, day: date) -> set[tuple[str, int]]:
        """Log them for ``day``; those that replay needs."""
        made = {}
        for name in MODELS:
            made[name] = self.registry.log_version(
                name,
                partition=day,
                fingerprint=str(day),
                artifact_folder=self.folders[name],
            ).version
        self.deciding[day] = sum(
            path.stat().st_size for name in DECIDING for path in self.folders[name].rglob("*") if path.is_file()
        )
        return {(name, made[name]) for name in DECIDING}


def copy_run(home: Path, run_id: str, now: datetime) -> str:
    """Copy a run of Dagster, as one of another day: its own database, its rows in the index and among the runs."""
    history, copy = home / "history", str(uuid.uuid4())
    day = str(now.date())
    shutil.copyfile(history / "runs" / f"{run_id}.db", history / "runs" / f"{copy}.db")
    for file, table, columns in (
        (history / "runs.db", "runs", {"run_id": copy, "create_timestamp": str(now), "partition": day}),
        (history / "runs" / "index.db", "event_logs", {"run_id": copy, "timestamp": str(now), "partition": day}),
        (history / "runs" / "index.db", "asset_check_executions", {"run_id": copy}),
    ):
        with closing(sqlite3.connect(file, timeout=60)) as database:
            names = [row[1] for row in database.execute(f"PRAGMA table_info({table})")][1:]
            # The run and its events say in their texts, too, whose they are.
            texts = {
                name: f"replace({name}, '{run_id}', '{copy}')" for name in ("run_body", "event", "evaluation_event")
            }
            values = ", ".join("?" if name in columns else texts.get(name, name) for name in names)
            given = [columns[name] for name in names if name in columns]
            query = f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table} WHERE run_id = ?"
            database.execute(query, [*given, run_id])
            database.commit()
    return copy


if __name__ == "__main__":
    main()
