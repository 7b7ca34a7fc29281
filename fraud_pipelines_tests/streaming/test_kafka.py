"""Transactions from Kafka, each once: against the mock cluster that the client itself brings, where it is installed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.streaming.kafka import KafkaSettings, KafkaSource, consume
from fraud_pipelines_tests.streaming.samples import Stream, now, traffic

TOPIC = "payments"


def test_the_settings_name_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRAUD_STREAM_KAFKA_BROKERS", raising=False)
    monkeypatch.setenv("FRAUD_STREAM_KAFKA_TOPIC", TOPIC)
    with pytest.raises(InvalidInput, match="FRAUD_STREAM_KAFKA_BROKERS must be set"):
        KafkaSettings.from_environment()
    monkeypatch.setenv("FRAUD_STREAM_KAFKA_BROKERS", "broker:9092")
    monkeypatch.setenv("FRAUD_STREAM_KAFKA_OPTIONS", "[1]")
    with pytest.raises(InvalidInput, match="must be a JSON object"):
        KafkaSettings.from_environment()
    monkeypatch.setenv("FRAUD_STREAM_KAFKA_OPTIONS", '{"sasl.password": "s3cret"}')
    settings = KafkaSettings.from_environment()
    assert settings.options == {"sasl.password": "s3cret"}
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
    return Broker(producer, KafkaSettings(f"{address.host}:{address.port}", TOPIC))


def test_each_message_counts_once_whatever_is_cut_off(broker: Broker, tmp_path: Path) -> None:
    stream = Stream(tmp_path / "data").prepare()
    rows = traffic(90)
    lines = [line for line in rows.write_ndjson().splitlines() if line]
    broker.send([*lines[:40], "{", None], partition=0)
    broker.send([json.dumps(json.loads(line), indent=1) for line in lines[40:60]], partition=1)

    session = stream.session()
    with KafkaSource(broker.settings, stream.warehouse) as source:
        reports = consume(session, source, now=now(), wait_seconds=5)
        while sum(report.transactions for report in reports) < 62:
            reports += consume(session, source, now=now(), wait_seconds=5)
        assert sum(report.rejected for report in reports) == 2
        # Messages that were read and never committed are read again by the next source.
        broker.send(list(lines[60:]), partition=2)
        lost = source.poll(1_000, wait_seconds=5)
        assert lost
    done: list[Any] = []
    with KafkaSource(broker.settings, stream.warehouse) as source:
        while sum(report.accepted for report in done) < 30:
            done += consume(stream.session(), source, now=now(), wait_seconds=5)

    assert stream.decisions()["transaction_id"].to_list() == rows["transaction_id"].sort().to_list()
    offsets = stream.warehouse.read("SELECT partition, next_offset FROM streaming.kafka_offsets ORDER BY 1")
    assert offsets.rows() == [(0, 42), (1, 20), (2, 30)]
    rejected = stream.warehouse.read("SELECT reason FROM raw.rejected_transactions").to_series()
    assert rejected.str.starts_with("malformed JSON").all()
    batches = stream.warehouse.read("FROM streaming.processed_batches")
    assert batches["batch_id"].is_unique().all()
    assert batches.filter(pl.col("batch_id").str.starts_with("kafka/payments/")).height == batches.height
