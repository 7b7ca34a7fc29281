"""A process that reads a Kafka topic, to be killed."""

import sys
from pathlib import Path

from fraud_pipelines.streaming.kafka import KafkaSource
from fraud_pipelines.streaming.settings import KafkaSettings
from fraud_pipelines_tests.streaming.samples import Stream, now


def consume_until_empty(data_dir: Path, topic: KafkaSettings) -> None:
    """Commit what comes until nothing does for a while, with a dot for each commit."""
    stream = Stream(data_dir)
    session = stream.session()
    with KafkaSource(topic, stream.warehouse) as source:
        idle = 0
        while idle < 2:
            # Few messages at a time, so that there are many commits to be killed between.
            batches = source.poll(15, wait_seconds=1.0)
            idle = 0 if batches else idle + 1
            if batches:
                session.commit(batches, now=now())
                sys.stdout.write(".")
                sys.stdout.flush()


if __name__ == "__main__":
    consume_until_empty(Path(sys.argv[1]), KafkaSettings.from_environment())
