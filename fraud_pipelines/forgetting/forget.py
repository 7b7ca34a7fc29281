"""Forget a person: tables first, then databases and files, then what may still hold freed pages; and a last look."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from fraud_pipelines.bootstrap import live_warehouse, publication_of, warehouse_of
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.forgetting.files import FileDone, forget_in_files
from fraud_pipelines.forgetting.person import Person
from fraud_pipelines.forgetting.tables import Removed, forget_in_tables, payments_of
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.plan.tokens import Tokens
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.compaction import compact
from fraud_pipelines.storage.redaction import files_of_database, redact_database

_SHORTEST: Final = 2


@dataclass(frozen=True)
class Forgotten:
    """What was removed.

    Attributes:
        payments: how many the person had.
        tables: rows of tables.
        databases: SQLite databases → values that were redacted.
        files: that named the person.
        copies: of the warehouse as it was before a migration; they were removed.
        servers: what lies on servers and was not looked at.
    """

    payments: int
    tables: tuple[Removed, ...]
    databases: dict[Path, int]
    files: tuple[FileDone, ...]
    copies: tuple[Path, ...]
    servers: tuple[str, ...]

    @property
    def left(self) -> tuple[FileDone, ...]:
        """Files that still name the person."""
        return tuple(each for each in self.files if each.what == "stays")


def person_named(settings: Settings, user: str) -> tuple[Person, frozenset[str]]:
    """The person with this id or token, with their payments, and the deliveries that brought them.

    Raises:
        InvalidInput: the id is too short to be looked for in texts.
        MissingData: there is no warehouse yet.
    """
    name = user.strip()
    if len(name) < _SHORTEST or not name.isprintable():
        raise InvalidInput(f"an id has at least {_SHORTEST} characters, all of them printable")
    key = settings.token_key
    names = frozenset({name, Tokens(key).of(name)} if key else {name})
    payments, sources = payments_of(warehouse_of(settings), names)
    return Person(names, payments), sources


def forget(settings: Settings, person: Person, sources: frozenset[str], *, now: datetime) -> Forgotten:
    """Remove the person from everything that the installation writes.

    It may be interrupted, and called again: what is gone is not found any more.

    Raises:
        WarehouseBusy: other processes hold a store; call it again when they have ended.
    """
    plan_in_force(settings)
    warehouse = live_warehouse(settings)
    tables = forget_in_tables(warehouse, person, now=now)
    databases = {}
    for path in _databases(settings):
        if any(person.is_in(each.read_bytes()) for each in files_of_database(path)):
            databases[path] = redact_database(path, person.is_in, person.redacted)
    copies = _without_copies(settings)
    if settings.warehouse == "lake":
        from fraud_pipelines.storage.lake.maintenance import vacuum
        from fraud_pipelines.storage.lake.warehouse import LakeWarehouse

        assert isinstance(warehouse, LakeWarehouse)
        vacuum(warehouse, now=now + timedelta(seconds=1), kept_days=0)
    else:
        compact(warehouse, worth=0.0)
    publication_of(settings).publish()
    looked_after = [*_databases(settings), *_warehouse_files(settings)]
    files = forget_in_files(settings, person, sources, looked_after)
    return Forgotten(
        payments=len(person.payments),
        tables=tuple(tables),
        databases=databases,
        files=tuple(files),
        copies=copies,
        servers=_servers(settings),
    )


def _databases(settings: Settings) -> list[Path]:
    found = sorted(settings.dagster_home.rglob("*.db")) if settings.dagster_home.exists() else []
    if settings.mlflow_database and settings.mlflow_database.exists():
        found.append(settings.mlflow_database)
    return found


def _warehouse_files(settings: Settings) -> list[Path]:
    if settings.warehouse == "lake":
        return [settings.published_path, *settings.warehouse_path.rglob("*")]
    return [settings.published_path, settings.warehouse_path]


def _without_copies(settings: Settings) -> tuple[Path, ...]:
    """Remove copies of the warehouse as it was before its schema changed: nobody can take a row out of them."""
    copies = []
    for path in (settings.warehouse_path, settings.published_path):
        copies += sorted(path.parent.glob(f"{path.stem}.schema-*"))
    for copy in copies:
        copy.unlink()
    return tuple(copies)


def _servers(settings: Settings) -> tuple[str, ...]:
    found = []
    if settings.mlflow_database is None:
        found.append("MLflow's records, which a server keeps")
    config = settings.dagster_home / "dagster.yaml"
    lines = config.read_text(encoding="utf-8").splitlines() if config.exists() else []
    if any("postgres" in line for line in lines if not line.lstrip().startswith("#")):
        found.append("Dagster's runs and events, which are in PostgreSQL")
    return tuple(found)
