"""What a session of the stream stored is published when the session ends, however it is told to."""

import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from fraud_pipelines.bootstrap import publication_of
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.locks import held_elsewhere
from fraud_pipelines_tests.streaming import consume_command
from fraud_pipelines_tests.streaming.samples import Stream


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_a_session_that_is_told_to_stop_publishes_all_that_it_committed(tmp_path: Path, told: signal.Signals) -> None:
    stream = Stream(tmp_path / "data").prepare()
    publication = publication_of(stream.settings)
    publication.publish()
    before = publication.record()
    environment = Installation(stream.data_dir).environment | {
        "FRAUD_STREAM_KAFKA_BROKERS": "broker:9092",
        "FRAUD_STREAM_KAFKA_TOPIC": "payments",
        "FRAUD_WAREHOUSE_WAIT_SECONDS": "5",
    }
    command = [sys.executable, "-m", consume_command.__name__]
    with held_elsewhere(stream.settings.published_path):
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as session:
            assert session.stdout
            decided = 0
            for line in session.stdout:
                decided += " 1 decided" in line
                if decided == 3 and "decided" in line:
                    assert publication.record() == before, "at most every five minutes"
                    session.send_signal(told)
            assert session.wait() == 0
        assert publication.is_current()
        with duckdb.connect(str(stream.settings.published_path), read_only=True) as opened:
            ((published,),) = opened.execute("SELECT count(*) FROM scoring.decisions").fetchall()
    assert published == stream.decisions().height >= 3
