"""A Kafka topic as a source of micro-batches: its offsets are committed in DuckDB, together with the results."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

import polars as pl

from fraud_pipelines.errors import MissingData
from fraud_pipelines.storage.connection import Connection, overwrite, select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.streaming.batches import BatchReport
from fraud_pipelines.streaming.session import StreamSession
from fraud_pipelines.streaming.settings import KAFKA_PREFIX, KafkaSettings
from fraud_pipelines.transactions.json_lines import JsonLinesFile
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.records import RecordChunk

_MANAGED: Final = {"enable.auto.commit": False, "enable.auto.offset.store": False, "group.id": "fraud-pipelines"}
_METADATA_SECONDS: Final = 30.0


@dataclass(frozen=True)
class KafkaBatch:
    """Consecutive messages of one partition, each a transaction as a JSON object."""

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    values: tuple[bytes | None, ...] = field(repr=False)
    mapping: ColumnMapping = field(default_factory=ColumnMapping.identity)

    @property
    def batch_id(self) -> str:
        # Both ends: read again from an earlier offset, a batch may begin alike and hold more.
        return f"kafka/{self.topic}/{self.partition}/{self.first_offset}-{self.next_offset - 1}"

    @property
    def source(self) -> str:
        return f"kafka/{self.topic}/{self.partition} from {self.first_offset} to {self.next_offset - 1}"

    def chunks(self) -> Iterator[RecordChunk]:
        # A line break in JSON can only stand between tokens.
        lines = b"\n".join(b"null" if value is None else value.replace(b"\n", b" ") for value in self.values)
        yield from JsonLinesFile([lines], self.mapping.source_columns).chunks()

    def finish(self, connection: Connection) -> None:
        """Note where to go on from, in the transaction that stores the rows."""
        place = {"topic": self.topic, "partition": self.partition}
        row = pl.DataFrame([place | {"next_offset": self.next_offset}])
        overwrite(connection, "streaming.kafka_offsets", row, topic=self.topic, partition=self.partition)


class KafkaSource:
    """All partitions of a topic, from where DuckDB says that they were left; use as a context manager.

    The broker's own record of offsets isn't used: with the offsets in the transaction that stores the results, each
    message counts once, whatever dies when. One source at a time should read a topic into a warehouse.
    """

    def __init__(self, settings: KafkaSettings, warehouse: Warehouse, *, mapping: ColumnMapping | None = None) -> None:
        self._settings = settings
        self._warehouse = warehouse
        self._mapping = mapping or ColumnMapping.identity()

    def __enter__(self) -> Self:
        try:
            from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
        except ImportError as error:
            raise MissingData(
                "Reading from Kafka needs confluent-kafka: pip install 'fraud-pipelines[kafka]'"
            ) from error

        settings = self._settings
        self._consumer: Consumer = Consumer(
            {**settings.librdkafka, "bootstrap.servers": settings.brokers, "auto.offset.reset": "earliest", **_MANAGED}
        )
        try:
            topic = self._consumer.list_topics(settings.topic, timeout=_METADATA_SECONDS).topics[settings.topic]
        except KafkaException as error:
            self._consumer.close()
            raise MissingData(
                f"Kafka at {settings.brokers} can't be reached: {error}. Check {KAFKA_PREFIX}BROKERS."
            ) from error
        if topic.error is not None or not topic.partitions:
            self._consumer.close()
            raise MissingData(
                f"Kafka at {settings.brokers} has no topic {settings.topic}: {topic.error}. Check {KAFKA_PREFIX}TOPIC."
            )
        left = self._offsets()
        self._consumer.assign(
            [TopicPartition(settings.topic, number, left.get(number, OFFSET_BEGINNING)) for number in topic.partitions]
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._consumer.close()

    def poll(self, most: int, *, wait_seconds: float) -> list[KafkaBatch]:
        """What has come, at most so many messages, a batch for each partition; nothing if none comes in time.

        Raises:
            MissingData: the broker reports an error that won't pass by itself.
        """
        messages: dict[int, list[Any]] = {}
        for message in self._consumer.consume(most, timeout=wait_seconds):
            error, partition = message.error(), message.partition()
            if error is not None and not error.retriable():
                raise MissingData(f"Kafka topic {self._settings.topic}: {error}")
            if error is None and partition is not None:
                messages.setdefault(partition, []).append(message)
        return [
            KafkaBatch(
                topic=self._settings.topic,
                partition=partition,
                first_offset=those[0].offset(),
                next_offset=those[-1].offset() + 1,
                values=tuple(message.value() for message in those),
                mapping=self._mapping,
            )
            for partition, those in sorted(messages.items())
        ]

    def _offsets(self) -> dict[int, int]:
        with self._warehouse.connect(read_only=True) as connection:
            query = "SELECT partition, next_offset FROM streaming.kafka_offsets WHERE topic = ?"
            return dict(select(connection, query, [self._settings.topic]).iter_rows())


def consume(
    session: StreamSession, source: KafkaSource, *, clock: Callable[[], datetime], wait_seconds: float
) -> list[BatchReport]:
    """Commit what has come, in one transaction; returns what became of it, nothing if none came in time.

    Args:
        clock: gives the time of processing, naive UTC. It is read once the messages are there: what happened while
            they were waited for is not in the future.
    """
    batches = source.poll(session.stream.commit_rows, wait_seconds=wait_seconds)
    return session.commit(batches, now=clock()) if batches else []
