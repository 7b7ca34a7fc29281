"""The two servers of ``up``: what is told about them, what is started, and that none outlives the command."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fraud_pipelines.cli import serve as serving
from fraud_pipelines.errors import FraudPipelinesError
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
