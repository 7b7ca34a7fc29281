"""Dagster and MLflow on a PostgreSQL server of the test's own: a day is run, and what goes wrong is one message."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from fraud_pipelines import bootstrap
from fraud_pipelines.errors import InvalidInput, RegistryUnavailable
from fraud_pipelines.storage.mlflow_connection import connect
from fraud_pipelines_tests.conftest import Installation

pytestmark = pytest.mark.slow

PASSWORD = "pa/ss w:rd@s3cret"
URL_PASSWORD = "pa%2Fss%20w%3Ard%40s3cret"


def binaries() -> Path | None:
    """The folder of the server's programs: Debian keeps them out of the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


@dataclass(frozen=True)
class Server:
    port: int

    def url(self, database: str, *, password: str = URL_PASSWORD) -> str:
        return f"postgresql://fraud:{password}@127.0.0.1:{self.port}/{database}"

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        psycopg = pytest.importorskip("psycopg")
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            found = connection.execute(query)
            return list(found.fetchall()) if found.description else []

    def environment(self) -> dict[str, str]:
        return {"MLFLOW_TRACKING_URI": self.url("mlflow"), "DAGSTER_POSTGRES_PASSWORD": PASSWORD}

    def dagster_yaml(self, *, scheme: bool = True) -> str:
        """The file that is written, with its comment on PostgreSQL followed to the letter."""
        text = bootstrap.DAGSTER_YAML
        [suggested] = re.findall(r"(?m)^#   (storage:\n(?:#     .*\n)+)", text)
        block = re.sub(r"(?m)^#   ", "", suggested)
        for name, value in {"hostname": "127.0.0.1", "port": self.port, "username": "fraud"}.items():
            block = re.sub(rf"(?m)^( +{name}:).*$", rf"\1 {value}", block)
        if not scheme:
            block = re.sub(r"(?m)^ +scheme:.*\n", "", block)
        return text[: text.index("\nstorage:")] + "\n" + block


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    pytest.importorskip("dagster_postgres")
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL: initdb is neither in the PATH nor where Debian's package postgresql puts it")
    as_user = []
    folder = Path(tempfile.mkdtemp())
    (folder / "password").write_text(PASSWORD)
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        as_user = ["runuser", "-u", "postgres", "--"]
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = [*as_user, str(programs / "initdb"), "--no-sync", "-U", "fraud", "-A", "scram-sha-256", "-E", "UTF8"]
    made += ["--locale", "C", "--pwfile", str(folder / "password"), "-D", str(folder / "data")]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("w") as log:
        run = [*as_user, str(programs / "postgres"), "-D", str(folder / "data"), *settings]
        process = subprocess.Popen(run, cwd=folder, stdout=log, stderr=log)
    try:
        started = Server(port)
        wait_for(port)
        for database in ("dagster", "mlflow"):
            started.rows("postgres", f"CREATE DATABASE {database}")
        yield started
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


def wait_for(port: int) -> None:
    psycopg = pytest.importorskip("psycopg")
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(Server(port).url("postgres")).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return


def write_dagster_yaml(installation: Installation, text: str) -> Path:
    home = installation.settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(text)
    return home


def test_a_day_is_run_with_dagster_and_mlflow_on_postgresql(installation: Installation, server: Server) -> None:
    write_dagster_yaml(installation, server.dagster_yaml())
    day = datetime.now(UTC).date() - timedelta(days=3)
    days = ("--from", day.isoformat(), "--to", day.isoformat())

    shown = installation.invoke("simulate", *days, "--users", "40", "--transactions-per-day", "120")
    shown += installation.invoke("run", *days, succeeds=True, **server.environment())

    assert server.rows("dagster", "SELECT pipeline_name, status FROM runs") == [("fraud_daily_job", "SUCCESS")]
    assert server.rows("dagster", "SELECT count(*) FROM event_logs")[0][0] > 50
    models = {name for (name,) in server.rows("mlflow", "SELECT name FROM registered_models")}
    assert {"fraud-daily", "fraud-ensemble"} <= models
    assert list(installation.data_dir.rglob("*.db")) == []
    assert any((installation.data_dir / "mlflow" / "artifacts").iterdir())
    assert "s3cret" not in shown


def test_a_driver_that_dagster_is_not_written_for_is_refused(installation: Installation, server: Server) -> None:
    """The web server sets a time limit by ``with connection:``, which closes a connection of psycopg 3."""
    home = write_dagster_yaml(installation, server.dagster_yaml(scheme=False))

    with (
        mock.patch.dict(os.environ, server.environment()),
        pytest.raises(InvalidInput, match=re.escape("scheme: postgresql+psycopg2")),
    ):
        bootstrap.prepare_dagster_home(home)


def test_a_wrong_password_is_one_message_without_it(
    installation: Installation, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = write_dagster_yaml(installation, server.dagster_yaml())
    with mock.patch.dict(os.environ, {"DAGSTER_POSTGRES_PASSWORD": "wr0ng-s3cret"}):
        with pytest.raises(InvalidInput, match=r"storage on PostgreSQL failed: .*authentication failed") as dagster:
            bootstrap.prepare_dagster_home(home)
        with pytest.raises(RegistryUnavailable, match="authentication failed") as mlflow:
            connect(server.url("mlflow", password="wr0ng-s3cret"), tmp_path)

    for refused in (dagster, mlflow):
        assert "s3cret" not in f"{refused.value}{refused.value.__cause__}{caplog.text}"
    assert caplog.text == ""


def test_a_server_that_is_not_there_is_named(installation: Installation, tmp_path: Path) -> None:
    pytest.importorskip("dagster_postgres")
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = Server(free.getsockname()[1])
    home = write_dagster_yaml(installation, nobody.dagster_yaml())
    with mock.patch.dict(os.environ, nobody.environment()):
        with pytest.raises(InvalidInput, match=r"storage on PostgreSQL failed: .*refused"):
            bootstrap.prepare_dagster_home(home)
        with pytest.raises(RegistryUnavailable, match=f"127.0.0.1:{nobody.port}/mlflow failed: .*refused"):
            connect(nobody.url("mlflow"), tmp_path)


def test_without_the_extra_the_message_says_what_to_install(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = Server(9)
    home = write_dagster_yaml(installation, nobody.dagster_yaml())
    wanted = re.escape("pip install 'fraud-pipelines[postgres]'")
    monkeypatch.setattr(bootstrap, "find_spec", lambda _: None)
    with mock.patch.dict(os.environ, nobody.environment()), pytest.raises(InvalidInput, match=wanted):
        bootstrap.prepare_dagster_home(home)

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(RegistryUnavailable, match=wanted):
        connect(nobody.url("nothing"), tmp_path)
