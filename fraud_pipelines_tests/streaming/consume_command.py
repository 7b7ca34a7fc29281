"""``stream-consume`` in a process of its own, without MLflow, on a topic that brings a payment with every poll."""

import itertools
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

from fraud_pipelines.cli import main
from fraud_pipelines_tests.streaming.samples import NoModels


class Topic:
    """What `KafkaSource` uses of a consumer."""

    def __init__(self, _config: dict[str, object]) -> None:
        self._offsets = itertools.count()

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None})})

    def assign(self, partitions: list[Any]) -> None:
        pass

    def consume(self, most: int, timeout: float) -> Iterator[Any]:
        time.sleep(0.01)
        offset, now = next(self._offsets), datetime.now(UTC).replace(tzinfo=None)
        value = f'{{"transaction_id": "{offset}", "user_id": "u", "timestamp": "{now.isoformat()}", "amount": 5.0}}'
        parts = {"error": None, "partition": 0, "offset": offset, "value": value.encode()}
        yield SimpleNamespace(**{name: lambda part=part: part for name, part in parts.items()})

    def close(self) -> None:
        pass


if __name__ == "__main__":
    client = ModuleType("confluent_kafka")
    client.__dict__.update(
        Consumer=Topic, KafkaException=OSError, TopicPartition=lambda *place: place, OFFSET_BEGINNING=0
    )
    sys.modules["confluent_kafka"] = client
    with (
        mock.patch("fraud_pipelines.storage.model_registry.ModelRegistry", return_value=NoModels()),
        mock.patch("fraud_pipelines.bootstrap.prepare"),  # MLflow's database would take seconds
    ):
        main(["stream-consume"])
