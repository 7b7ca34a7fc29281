"""Transactions from Kafka, each once: against the mock cluster that the client brings, and a client that is made up."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.streaming.kafka import KafkaSource, consume
from fraud_pipelines.streaming.session import StreamSession
from fraud_pipelines.streaming.settings import KafkaSettings
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.streaming.samples import SMALL, NoModels, Stream, now, traffic

TOPIC = "payments"


def test_the_settings_name_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRAUD_STREAM_KAFKA_BROKERS", raising=False)
    monkeypatch.setenv("FRAUD_STREAM_KAFKA_TOPIC", TOPIC)
    with pytest.raises(InvalidInput, match="FRAUD_STREAM_KAFKA_BROKERS must be set"):
        KafkaSettings.from_environment()
    monkeypatch.setenv("FRAUD_STREAM_KAFKA_BROKERS", "broker:9092")
    monkeypatch.setenv("FRAUD_STREAM_KAFKA_OPTIONS", "[1]")
    with pytest.raises(InvalidInput, match="FRAUD_STREAM_KAFKA_OPTIONS: must be a JSON object"):
        KafkaSettings.from_environment()
    monkeypatch.setenv("FRAUD_STREAM_KAFKA_OPTIONS", '{"sasl.password": "s3cret')
    with pytest.raises(InvalidInput, match="FRAUD_STREAM_KAFKA_OPTIONS: is no JSON") as raised:
        KafkaSettings.from_environment()
    assert "s3cret" not in str(raised.value)
    monkeypatch.setenv("FRAUD_STREAM_KAFKA_OPTIONS", '{"sasl.password": "s3cret"}')
    settings = KafkaSettings.from_environment()
    assert settings.librdkafka == {"sasl.password": "s3cret"}
    assert "s3cret" not in repr(settings)


@dataclass(frozen=True)
class Broker:
    """A mock cluster of librdkafka; it lives as long as the producer it belongs to."""

    producer: Any
    settings: KafkaSettings

    def send(self, values: list[str | None], partition: int) -> None:
        for value in values:
            self.producer.produce(TOPIC, value, partition=partition)
        self.producer.flush()


@pytest.fixture
def broker() -> Broker:
    kafka = pytest.importorskip("confluent_kafka")
    # The mock's address is known to the client that holds it only, so the broker is asked for by its metadata.
    producer = kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock"})
    metadata = producer.list_topics(TOPIC, timeout=10)
    address = next(iter(metadata.brokers.values()))
    return Broker(producer, KafkaSettings(brokers=f"{address.host}:{address.port}", topic=TOPIC))


def test_each_message_counts_once_whatever_is_cut_off(broker: Broker, tmp_path: Path) -> None:
    stream = Stream(tmp_path / "data").prepare()
    rows = traffic(90)
    lines = [line for line in rows.write_ndjson().splitlines() if line]
    broker.send([*lines[:40], "{", None], partition=0)
    broker.send([json.dumps(json.loads(line), indent=1) for line in lines[40:60]], partition=1)

    session = stream.session()
    with KafkaSource(broker.settings, stream.warehouse) as source:
        reports = consume(session, source, clock=now, wait_seconds=1)
        while sum(report.transactions for report in reports) < 62:
            reports += consume(session, source, clock=now, wait_seconds=1)
        assert sum(report.rejected for report in reports) == 2
        # Messages that were read and never committed are read again by the next source.
        broker.send(list(lines[60:]), partition=2)
        lost = source.poll(1_000, wait_seconds=1)
        assert lost
    done: list[Any] = []
    with KafkaSource(broker.settings, stream.warehouse) as source:
        while sum(report.accepted for report in done) < 30:
            done += consume(stream.session(), source, clock=now, wait_seconds=1)

    assert stream.decisions()["transaction_id"].to_list() == rows["transaction_id"].sort().to_list()
    offsets = stream.warehouse.read("SELECT partition, next_offset FROM streaming.kafka_offsets ORDER BY 1")
    assert offsets.rows() == [(0, 42), (1, 20), (2, 30)]
    rejected = stream.warehouse.read("SELECT reason FROM raw.rejected_transactions").to_series()
    assert rejected.str.starts_with("malformed JSON").all()
    batches = stream.warehouse.read("FROM streaming.processed_batches")
    assert batches["batch_id"].is_unique().all()
    assert batches.filter(pl.col("batch_id").str.starts_with("kafka/payments/")).height == batches.height


def payment(name: str, happened: datetime) -> str:
    return json.dumps({"transaction_id": name, "user_id": "u", "timestamp": happened.isoformat(), "amount": 5.0})


def test_payments_that_happen_while_the_topic_is_polled_are_decided(broker: Broker, tmp_path: Path) -> None:
    stream = Stream(tmp_path / "data").prepare()
    exact = Settings(data_dir=stream.data_dir, clock_skew_seconds=0)
    session = StreamSession(stream.warehouse, cast(ModelRegistry, NoModels()), exact, SMALL)

    def live() -> None:
        for number in range(60):
            broker.send([payment(f"{number:02}", now())], partition=number % 3)
            time.sleep(0.01)

    producer = threading.Thread(target=live)
    reports: list[Any] = []
    with KafkaSource(broker.settings, stream.warehouse) as source:
        producer.start()
        while sum(report.transactions for report in reports) < 60:
            reports += consume(session, source, clock=now, wait_seconds=0.5)
        producer.join()

    assert sum(report.rejected for report in reports) == 0
    assert stream.decisions()["transaction_id"].to_list() == [f"{number:02}" for number in range(60)]


class LiveConsumer:
    """What `KafkaSource` uses of a consumer; each of two polls brings two payments that happen in the course of it."""

    polls = 0

    def __init__(self, config: dict[str, object]) -> None:
        assert config["enable.auto.commit"] is False

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None})})

    def assign(self, partitions: list[Any]) -> None:
        self.offset = 0

    def consume(self, most: int, timeout: float) -> Iterator[Any]:
        LiveConsumer.polls += 1
        if LiveConsumer.polls > 2:
            return
        for _ in range(2):
            value = payment(f"live-{self.offset}", now()).encode()
            parts = {"error": None, "partition": 0, "offset": self.offset, "value": value}
            yield SimpleNamespace(**{name: lambda part=part: part for name, part in parts.items()})
            self.offset += 1

    def close(self) -> None:
        pass


def test_the_command_reads_the_clock_after_it_has_polled(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ModuleType("confluent_kafka")
    client.__dict__.update(
        Consumer=LiveConsumer, KafkaException=OSError, TopicPartition=lambda *place: place, OFFSET_BEGINNING=0
    )
    monkeypatch.setitem(sys.modules, "confluent_kafka", client)
    # No model is registered yet, and MLflow's database would take seconds.
    monkeypatch.setattr("fraud_pipelines.storage.model_registry.ModelRegistry", lambda *_, **__: NoModels())
    monkeypatch.setattr(
        "fraud_pipelines.bootstrap.prepare",
        lambda settings: open_warehouse(settings.warehouse_path, plan=shipped_plan(), wait_seconds=10),
    )

    shown = installation.invoke(
        "stream-consume",
        "--once",
        FRAUD_STREAM_KAFKA_BROKERS="broker:9092",
        FRAUD_STREAM_KAFKA_TOPIC=TOPIC,
        FRAUD_CLOCK_SKEW_SECONDS="0",
    )

    assert shown.count("2 decided, 0 rejected") == 2
    decided = installation.warehouse.read("SELECT transaction_id FROM scoring.decisions ORDER BY 1").to_series()
    assert decided.to_list() == [f"live-{number}" for number in range(4)]


def test_a_topic_read_again_from_the_beginning_loses_nothing(broker: Broker, tmp_path: Path) -> None:
    stream = Stream(tmp_path / "data").prepare()
    broker.send([payment("a", now())], partition=0)
    with KafkaSource(broker.settings, stream.warehouse) as source:
        assert [each.accepted for each in consume(stream.session(), source, clock=now, wait_seconds=1)] == [1]
    with stream.warehouse.transaction() as connection:
        connection.execute("DELETE FROM streaming.kafka_offsets")
    broker.send([payment("b", now())], partition=0)
    reports: list[Any] = []
    with KafkaSource(broker.settings, stream.warehouse) as source:
        while sum(report.transactions for report in reports) < 2:
            reports += consume(stream.session(), source, clock=now, wait_seconds=1)
    assert stream.decisions()["transaction_id"].to_list() == ["a", "b"]


def test_what_the_clock_turned_away_counts_once_it_is_produced_again(broker: Broker, tmp_path: Path) -> None:
    stream = Stream(tmp_path / "data").prepare()
    happens = now()
    values: list[str | None] = [payment("past", happens - timedelta(hours=1)), payment("soon", happens)]

    def consumed(at: datetime) -> tuple[int, int]:
        with KafkaSource(broker.settings, stream.warehouse) as source:
            (report,) = consume(stream.session(), source, clock=lambda: at, wait_seconds=2)
        return report.accepted, report.rejected

    broker.send(values, partition=0)
    assert consumed(happens - timedelta(minutes=30)) == (1, 1)
    broker.send(values, partition=0)
    assert consumed(happens) == (1, 1)
    reasons = stream.warehouse.read("SELECT DISTINCT reason FROM raw.rejected_transactions").to_series()
    assert reasons.str.starts_with("duplicate").all()
    assert stream.decisions()["transaction_id"].to_list() == ["past", "soon"]
    # The offsets are set back, and the same messages come once more.
    with stream.warehouse.transaction() as connection:
        connection.execute("DELETE FROM streaming.kafka_offsets")
    assert consumed(happens) == (0, 4)
    assert stream.decisions().height == 2
