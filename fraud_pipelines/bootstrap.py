"""Bootstrap: makes the data directory, the warehouse, MLflow's database and Dagster's home, once."""

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import yaml

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import Connection
from fraud_pipelines.storage.opening import publication_at, warehouse_at
from fraud_pipelines.storage.publication import Publication
from fraud_pipelines.storage.warehouse import Warehouse

DAGSTER_YAML = """\
# Written by fraud-pipelines where it is missing; edit it as you like.
# For PostgreSQL: pip install 'fraud-pipelines[postgres]', and in place of "storage" at the end of this file
#   storage:
#     postgres:
#       postgres_db:
#         scheme: postgresql+psycopg2    # the driver that Dagster's storage is written for
#         hostname: db.example
#         port: 5432
#         db_name: dagster
#         username: dagster
#         password:
#           env: DAGSTER_POSTGRES_PASSWORD
# Run launchers and the rest: see Dagster's documentation of the instance.
telemetry:
  enabled: false
nux:
  enabled: false
# DuckDB takes one writing process: runs that write queue up behind the pool "warehouse" (limit 1).
concurrency:
  pools:
    granularity: run
# A run whose process has died is marked as failed, and no longer holds its place in the pool.
run_monitoring:
  enabled: true
# It is tried again from where it stopped. A step that fails is tried again within its run.
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    dequeue_interval_seconds: 1
# What steps print, kept as Dagster keeps it and shown in the terminal, without four processes for every run.
compute_logs:
  module: fraud_pipelines.defs.step_output
  class: FollowedLogManager
  config:
    base_dir:
      env: DAGSTER_HOME
# A sensor that looks every five seconds leaves 17,000 ticks a day, nearly all of which say that there was nothing.
retention:
  sensor:
    purge_after_days:
      skipped: 1
  schedule:
    purge_after_days:
      skipped: 1
# Dagster's storage on SQLite, with connections that are kept: a run takes less than half of the CPU.
storage:
  custom:
    module: fraud_pipelines.defs.instance_storage
    class: KeptSqliteStorage
    config:
      base_dir:
        env: DAGSTER_HOME
"""

_EARLIER_YAML: Final = {
    "68f2080275014e93084cd0a42776c466cdac1f4022a317ec5e687ab29edd0e69",
    "522b30dd40cff6a769f339c5425b53c738f8c7d2cf82eaa836baa7e448a48faf",
    "f6a79ed7c85c400f70add3e7a6f9d9783e3b758ae135f165a3f2466ef08c3e7a",
}
"""SHA-256 of the texts that earlier releases wrote; one that nobody has edited since is replaced."""

WAREHOUSE_POOL = "warehouse"
"""The concurrency pool of every asset that writes to the warehouse."""


def prepare(settings: Settings) -> None:
    """Make everything a run needs that is missing; what is there stays as it is. Safe to repeat.

    Sets ``DAGSTER_HOME`` for this process and its children, unless it is set.

    Raises:
        RegistryUnavailable: MLflow can't be reached.
        InvalidInput: the warehouse file can't be opened.
    """
    from fraud_pipelines.storage.model_registry import ModelRegistry

    for folder in (
        settings.landing_transactions,
        settings.landing_labels,
        settings.landing_stream,
        settings.mlflow_dir,
    ):
        folder.mkdir(parents=True, exist_ok=True)
    made_warehouse(settings, plan_in_force(settings))
    ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root).initialise()
    prepare_dagster_home(settings.dagster_home)


def open_warehouse(path: Path, *, plan: Plan, wait_seconds: float) -> Warehouse:
    """The warehouse at ``path`` with all its tables, those of the ``plan`` included; made where it is missing.

    What an earlier release made is brought up to date, after a copy of the file beside it. One that is up to date is
    not written to.

    Raises:
        InvalidInput: the file can't be opened, a newer release wrote it, or bringing it up failed.
        WarehouseBusy: another process held it for longer than ``wait_seconds``.
    """
    from fraud_pipelines.evaluation.metric import metric_columns
    from fraud_pipelines.features.tables import declared_tables
    from fraud_pipelines.streaming.tables import PLACE_COLUMNS
    from fraud_pipelines.transactions.tables import declared_columns

    warehouse = warehouse_at(path, wait_seconds=wait_seconds)
    warehouse.initialise(
        declared=f"{declared_columns(plan)}{declared_tables(plan)}{PLACE_COLUMNS}{metric_columns()}",
        make_declared=lambda connection: _make_declared_tables(connection, plan),
    )
    return warehouse


def publication_of(settings: Settings) -> Publication:
    """The live warehouse of an installation, and the one that people open."""
    return publication_at(
        settings.warehouse_path, settings.published_path, wait_seconds=settings.warehouse_wait_seconds
    )


def live_warehouse(settings: Settings, *, wait_seconds: float | None = None) -> Warehouse:
    """The warehouse of an installation as it is. What an earlier release left is moved to its place first.

    Raises:
        InvalidInput, WarehouseBusy: it can't be moved, as by `Publication.settle`.
    """
    publication_of(settings).settle()
    wait = settings.warehouse_wait_seconds if wait_seconds is None else wait_seconds
    return warehouse_at(settings.warehouse_path, wait_seconds=wait)


def made_warehouse(settings: Settings, plan: Plan, *, wait_seconds: float | None = None) -> Warehouse:
    """The warehouse of an installation as by `open_warehouse`, and in its place as by `live_warehouse`."""
    found = live_warehouse(settings, wait_seconds=wait_seconds)
    return open_warehouse(found.path, plan=plan, wait_seconds=found.wait_seconds)


def open_existing_warehouse(path: Path, *, plan: Plan, wait_seconds: float) -> Warehouse:
    """The warehouse at ``path``, brought up to date as by `open_warehouse`; one that is missing is not made.

    Raises:
        MissingData: there is none yet.
        InvalidInput, WarehouseBusy: as `open_warehouse`.
    """
    if not path.exists():
        warehouse_at(path).read("SELECT 1")  # Says how to begin.
    return open_warehouse(path, plan=plan, wait_seconds=wait_seconds)


def warehouse_of(settings: Settings) -> Warehouse:
    """The warehouse of an installation, as by `open_existing_warehouse`."""
    found = live_warehouse(settings)
    return open_existing_warehouse(found.path, plan=plan_in_force(settings), wait_seconds=found.wait_seconds)


def _make_declared_tables(connection: Connection, plan: Plan) -> None:
    from fraud_pipelines.decisions.earlier_log import adopt_earlier_decisions
    from fraud_pipelines.evaluation.metric import add_metric_columns
    from fraud_pipelines.features.earlier_histories import drop_earlier_histories
    from fraud_pipelines.features.tables import create_tables
    from fraud_pipelines.streaming.tables import create_tables as create_stream_tables
    from fraud_pipelines.transactions.tables import add_declared_columns

    add_declared_columns(connection, plan)
    drop_earlier_histories(connection)
    create_tables(connection, plan)
    create_stream_tables(connection, plan)
    add_metric_columns(connection)
    adopt_earlier_decisions(connection, now=datetime.now(UTC).replace(tzinfo=None))


def prepare_dagster_home(home: Path) -> None:
    """Make Dagster's home with our ``dagster.yaml``, create its databases and set the pool's limit.

    Several processes that open a fresh home at once fail over each other's tables, so this comes first.
    """
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists() or hashlib.sha256(config.read_bytes()).hexdigest() in _EARLIER_YAML:
        config.write_text(DAGSTER_YAML)
    os.environ["DAGSTER_HOME"] = str(home.resolve())
    from dagster import DagsterInstance

    with _storage_errors_named(config), DagsterInstance.get() as instance:
        if getattr(instance.event_log_storage, "postgres_url", "").startswith("postgresql://"):
            raise InvalidInput(
                f"{config}: Dagster's storage is written for psycopg2, and postgresql:// means psycopg 3. Write "
                "scheme: postgresql+psycopg2 (or postgres_url: postgresql+psycopg2://…) under storage."
            )
        instance.get_runs(limit=1)
        instance.event_log_storage.set_concurrency_slots(WAREHOUSE_POOL, 1)


@contextlib.contextmanager
def _storage_errors_named(config: Path) -> Iterator[None]:
    """The errors of Dagster's storage on PostgreSQL as one of ours; those of other storages are Dagster's to tell."""
    storage = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
    if "postgres" not in str(storage.get("storage", "")):
        yield
        return
    if find_spec("dagster_postgres") is None:
        raise InvalidInput(
            f"Dagster's storage in {config} is PostgreSQL, whose drivers are missing: "
            "pip install 'fraud-pipelines[postgres]'"
        )
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import SQLAlchemyError

    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # Dagster tells of each of its tries.
    try:
        yield
    except (DagsterPostgresException, SQLAlchemyError) as error:
        cause = str(error.__cause__ or error).strip().splitlines()[0]
        raise InvalidInput(
            f"Dagster's storage on PostgreSQL failed: {cause}. Check that the server runs, and storage in {config}."
        ) from None
    finally:
        logging.disable(disabled)
