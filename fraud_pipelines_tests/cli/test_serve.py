"""The servers of ``up``: what is told about them, what is started, and that none outlives the command."""

import errno
import fcntl
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fraud_pipelines.cli import serve as serving
from fraud_pipelines.errors import FraudPipelinesError, InvalidInput
from fraud_pipelines.settings import Settings
from fraud_pipelines_tests.conftest import Installation

ENDS = [sys.executable, "-c", ""]


@pytest.fixture(autouse=True)
def _signals_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def serve(settings: Settings, *, dagster_port: int = 0, mlflow_port: int = 0, review_port: int = 0) -> int:
    return serving.serve(
        settings, host="127.0.0.1", dagster_port=dagster_port, mlflow_port=mlflow_port, review_port=review_port
    )


def test_the_password_of_an_mlflow_server_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serving, "_dagster_command", lambda *_: ENDS)
    with pytest.raises(FraudPipelinesError, match="Dagster ended"):
        serve(Settings(data_dir=tmp_path, mlflow_tracking_uri="https://analyst:s3cret@mlflow.example"))

    shown = capsys.readouterr().out
    assert "https://mlflow.example" in shown
    assert "s3cret" not in shown


@pytest.mark.parametrize("uri", ["sqlite:///{}/there/mlflow.db", "postgresql://anna:s3cret@db.example/mlflow"])
def test_a_database_given_by_its_address_gets_an_mlflow_ui_of_ours(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = tmp_path / "started"
    monkeypatch.setattr(serving, "_mlflow_command", lambda *_: ["sh", "-c", f"touch {started}; exec sleep 60"])
    monkeypatch.setattr(
        serving, "_dagster_command", lambda *_: ["sh", "-c", f"until [ -e {started} ]; do sleep 0.05; done"]
    )
    with pytest.raises(FraudPipelinesError, match="Dagster ended"):
        serve(Settings(data_dir=tmp_path, mlflow_tracking_uri=uri.format(tmp_path)))

    shown = capsys.readouterr().out
    assert "MLflow UI   http://127.0.0.1:0" in shown
    assert "s3cret" not in shown


def test_two_servers_on_one_port_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"Dagster and Review can't both listen on port 4100: .* --review-port"):
        serve(Settings(data_dir=tmp_path), dagster_port=4100, review_port=4100)
    with pytest.raises(InvalidInput, match=r"Dagster and MLflow can't both listen on port 4100: .* --mlflow-port"):
        serve(Settings(data_dir=tmp_path), dagster_port=4100, mlflow_port=4100)


@pytest.mark.parametrize("port", ["99999", "-1", "0", "http"])
@pytest.mark.parametrize("option", ["--dagster-port", "--mlflow-port", "--review-port"])
def test_what_is_no_port_is_refused_before_anything_is_made(installation: Installation, option: str, port: str) -> None:
    shown = installation.invoke("up", option, port, succeeds=False)

    assert f"Invalid value for '{option}'" in shown
    assert not installation.data_dir.exists()
    if port != "0":
        assert "Invalid value for '--port'" in installation.invoke("review", "serve", "--port", port, succeeds=False)


def test_a_port_that_is_kept_for_the_system_and_an_address_elsewhere_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path)
    for host in ("192.0.2.1", "nowhere.invalid"):
        with pytest.raises(InvalidInput, match=f"{host} is no address of this machine. Choose one with --host"):
            serving.serve(settings, host=host, dagster_port=0, mlflow_port=0, review_port=0)

    def refuse(*_: object, **__: object) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(InvalidInput, match="Ports below 1024 are kept for the system: choose another with --dagster"):
        serve(settings, dagster_port=80)


def test_only_the_port_of_a_server_to_be_started_must_be_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_dagster_command", lambda *_: ENDS)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(FraudPipelinesError, match="Dagster ended"):
            serve(Settings(data_dir=tmp_path, mlflow_tracking_uri="http://mlflow.example"), mlflow_port=taken)
        with pytest.raises(InvalidInput, match="--mlflow-port"):
            serve(Settings(data_dir=tmp_path), mlflow_port=taken)
        with pytest.raises(InvalidInput, match="--dagster-port"):
            serve(Settings(data_dir=tmp_path), dagster_port=taken)
        with pytest.raises(InvalidInput, match="--review-port"):
            serve(Settings(data_dir=tmp_path), review_port=taken)


HOLDS = "import fcntl, signal, time; file = open({held!r}, 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
"""Python that holds a file's lock for as long as it lives."""


def is_held(file: Path) -> bool:
    if not file.exists():
        return False
    with file.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait_until(holds: bool, file: Path) -> bool:
    deadline = time.monotonic() + 20
    while is_held(file) != holds and time.monotonic() < deadline:
        time.sleep(0.05)
    return is_held(file) == holds


@pytest.mark.parametrize("stubborn", [False, True])
def test_the_children_of_a_server_that_died_are_ended_too(
    stubborn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = tmp_path / "held"
    ignores = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if stubborn else ""
    child = HOLDS.format(held=str(held)) + ignores + "open(file.name + '-now', 'w'); time.sleep(60)"
    dies = (
        f"import pathlib, subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"while not pathlib.Path({str(held)!r} + '-now').exists(): time.sleep(0.05)"
    )
    monkeypatch.setattr(serving, "_dagster_command", lambda *_: [sys.executable, "-c", dies])
    with pytest.raises(FraudPipelinesError, match="Dagster ended"):
        serve(Settings(data_dir=tmp_path, mlflow_tracking_uri="http://mlflow.example"))

    assert (tmp_path / "held-now").exists()
    assert wait_until(False, held)


def test_a_server_is_stopped_if_the_other_can_not_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = tmp_path / "held"
    lives = [sys.executable, "-c", HOLDS.format(held=str(held)) + "time.sleep(60)"]
    absent = [str(tmp_path / "absent")]
    start = serving._start

    def start_once_dagster_runs(command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        assert command != absent or wait_until(True, held)
        return start(command, environment)

    monkeypatch.setattr(serving, "_dagster_command", lambda *_: lives)
    monkeypatch.setattr(serving, "_mlflow_command", lambda *_: absent)
    monkeypatch.setattr(serving, "_start", start_once_dagster_runs)
    with pytest.raises(FileNotFoundError, match="absent"):
        serve(Settings(data_dir=tmp_path))

    assert wait_until(False, held)
