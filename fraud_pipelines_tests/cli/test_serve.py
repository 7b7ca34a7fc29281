"""The servers of ``up``: what is told about them, what is started, and that none outlives the command."""

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


def test_an_sqlite_database_given_by_its_address_gets_an_mlflow_ui_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_once_mlflow_runs = ["sh", "-c", f"until [ -e {tmp_path}/arguments ]; do sleep 0.05; done"]
    monkeypatch.setattr(serving, "_dagster_command", lambda *_: ends_once_mlflow_runs)
    monkeypatch.setattr(serving, "_script", lambda name: str(tmp_path / name))
    echo = tmp_path / "mlflow"
    echo.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/new && mv {tmp_path}/new {tmp_path}/arguments\nexec sleep 60\n')
    echo.chmod(0o755)
    with pytest.raises(FraudPipelinesError, match="Dagster ended"):
        serve(Settings(data_dir=tmp_path, mlflow_tracking_uri=f"sqlite:///{tmp_path}/there/mlflow.db"))

    assert "MLflow UI   http://127.0.0.1:0" in capsys.readouterr().out
    arguments = (tmp_path / "arguments").read_text()
    assert f"--backend-store-uri sqlite:///{tmp_path}/there/mlflow.db" in arguments
    assert f"--default-artifact-root {tmp_path}/there/artifacts" in arguments


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
