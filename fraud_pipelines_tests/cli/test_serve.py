"""The two servers of ``up``: what is told about them, what is started, and that none outlives the command."""

import signal
import socket
import sys
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


def serve(settings: Settings, *, dagster_port: int = 0, mlflow_port: int = 0) -> int:
    return serving.serve(settings, host="127.0.0.1", dagster_port=dagster_port, mlflow_port=mlflow_port)


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
