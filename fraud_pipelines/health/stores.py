"""Checks of what is configured and stored: files of settings, the warehouse, MLflow, the landing zones, secrets."""

import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from fraud_pipelines.decisions.configuration import policies, policy_in_force, rules_in_force
from fraud_pipelines.detection.daily_models import DAILY_MODEL
from fraud_pipelines.environment import ENV_FILE, SECRETS_DIR
from fraud_pipelines.errors import FraudPipelinesError, InvalidInput, MissingData, RegistryUnavailable, WarehouseBusy
from fraud_pipelines.health.finding import Finding, fault, ok, warning
from fraud_pipelines.health.known_variables import unknown_variables
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import Connection
from fraud_pipelines.storage.model_registry import CHAMPION, ModelRegistry
from fraud_pipelines.storage.opening import publication_at, warehouse_at
from fraud_pipelines.storage.schema_version import migrations, stored_version

_DAY_SECONDS: Final = 86_400.0


def check_configuration(settings: Settings) -> Iterator[Finding]:
    """Whether declarations, policies and rules can be read, and whether a variable is misspelt."""
    readers: tuple[tuple[str, Path | None, Callable[[Settings], object]], ...] = (
        ("declarations", settings.declarations_path, plan_in_force),
        ("policies", settings.policies_path, policies),
        ("policy", settings.policies_path, policy_in_force),
        ("rules", settings.rules_path, rules_in_force),
    )
    for about, path, read in readers:
        try:
            read(settings)
        except InvalidInput as error:
            yield fault(about, str(error), "correct the file; until then no run starts")
            return
        if about != "policy":
            yield ok(about, str(path) if path else "as they ship")
    for name, near in unknown_variables(os.environ):
        remedy = f"did you mean {near}?" if near else "README.md lists the settings"
        yield warning("settings", f"{name} is set, and no setting has that name", remedy)


def check_warehouse(settings: Settings) -> Iterator[Finding]:
    """Whether the live warehouse can be opened, which schema it has, what was decided last, and how old its copy is."""
    path = settings.warehouse_path
    if not (path.exists() or settings.published_path.exists()):
        yield warning("warehouse", f"there is none at {path} yet", "fraud-pipelines demo, or fraud-pipelines import")
        return
    if not path.exists():
        yield warning("warehouse", f"only {settings.published_path} is there", "the next command makes it the live one")
        return
    newest = len(migrations())
    try:
        with warehouse_at(path, wait_seconds=0).connect(read_only=True) as connection:
            stored = stored_version(connection)
            version = 0 if stored is None else stored.version
            decided = _last_decided(connection) if version == newest else None
    except WarehouseBusy as error:
        yield warning("warehouse", str(error).partition(". ")[0], "wait for the run, or end it if it hangs")
        return
    except FraudPipelinesError as error:
        yield fault("warehouse", str(error), "restore it from a backup, or install the release that wrote it")
        return
    if version < newest:
        remedy = "the next command brings it up, after a copy"
        yield warning("schema", f"version {version}, this release has {newest}", remedy)
        return
    yield ok("schema", f"version {version}")
    yield _decisions(decided)
    yield _published(settings)


def _last_decided(connection: Connection) -> date | None:
    found = connection.execute("SELECT max(event_date) FROM scoring.decisions WHERE channel = 'batch'").fetchall()[0][0]
    return found if isinstance(found, date) else None


def _decisions(decided: date | None) -> Finding:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    if decided is None:
        return warning("decisions", "no day is decided yet", "fraud-pipelines run --from DAY --to DAY, or the schedule")
    if decided < yesterday:
        says = f"the last decided day is {decided}, {(yesterday - decided).days} days behind"
        return warning("decisions", says, "fraud-pipelines status says what waits")
    return ok("decisions", f"up to {decided}")


def _published(settings: Settings) -> Finding:
    publication = publication_at(settings.warehouse_path, settings.published_path, wait_seconds=0)
    record, age = publication.record(), publication.age_seconds()
    if record.left_out:
        return warning("published copy", record.left_out, "make room, then fraud-pipelines publish")
    if age is None or (age > _DAY_SECONDS and not publication.is_current()):
        return warning("published copy", "older than a day, and more was stored since", "fraud-pipelines publish")
    return ok("published copy", f"{settings.published_path}, {age / 3600:.1f} hours old")


def check_registry(settings: Settings) -> Iterator[Finding]:
    """Whether MLflow answers, and whether it has a version in use."""
    if settings.mlflow_database and not settings.mlflow_database.exists():
        yield warning("MLflow", f"there is no database at {settings.mlflow_database} yet", "the first run makes it")
        return
    try:
        champion = ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root).champion(DAILY_MODEL)
    except (RegistryUnavailable, MissingData, InvalidInput) as error:
        yield fault("MLflow", str(error), "start the server, or correct MLFLOW_TRACKING_URI")
        return
    if champion is None:
        yield warning("MLflow", f"{DAILY_MODEL} has no {CHAMPION} yet", "run a day")
    else:
        yield ok("MLflow", f"{DAILY_MODEL}/{champion.version} is in use, trained for {champion.partition}")


def check_landing(settings: Settings) -> Iterator[Finding]:
    """What waits in the landing zones, and what of it can't be taken in."""
    zones = (settings.landing_transactions, settings.landing_labels, settings.landing_stream)
    unreadable = [
        path for zone in zones if zone.is_dir() for path in sorted(zone.iterdir()) if not os.access(path, os.R_OK)
    ]
    if unreadable:
        more = f" and {len(unreadable) - 1} more" if len(unreadable) > 1 else ""
        yield fault("landing", f"{unreadable[0]}{more} can't be read", "give its user the right to read it")
    waiting = (
        sum(1 for path in settings.landing_stream.iterdir() if path.is_file())
        if settings.landing_stream.is_dir()
        else 0
    )
    try:
        problems = warehouse_at(settings.warehouse_path, wait_seconds=0).read("FROM raw.landing_problems").height
    except FraudPipelinesError:
        return
    if problems:
        yield warning(
            "landing", f"{problems} files could not be taken in", "fraud-pipelines status names them, with reasons"
        )
    elif not unreadable:
        yield ok("landing", f"nothing is stuck; {waiting} files in the stream's zone")


def check_secrets(settings: Settings) -> Iterator[Finding]:
    """Whether alerts go anywhere, and whether files of secrets are closed to others. No value is shown."""
    if settings.alert_webhook.get_secret_value():
        yield ok("alerts", "FRAUD_ALERT_WEBHOOK is set")
    else:
        yield warning("alerts", "FRAUD_ALERT_WEBHOOK is not set: alerts wait in monitoring.alerts", "set it to be told")
    folder = os.environ.get(SECRETS_DIR)
    paths = [Path(ENV_FILE), *(sorted(Path(folder).iterdir()) if folder and Path(folder).is_dir() else ())]
    for path in paths:
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXO | stat.S_IRWXG):
            yield warning("secrets", f"{path} may be read by others than its owner", f"chmod 600 {path}")
