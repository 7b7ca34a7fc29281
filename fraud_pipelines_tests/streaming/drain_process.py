"""A process that drains a stream, to be killed: imported beforehand by a fork server, so that it starts at once."""

from pathlib import Path
from typing import Literal

from fraud_pipelines_tests.streaming.samples import Stream


def drain_until_empty(data_dir: Path, kind: Literal["duckdb", "lake"] = "duckdb") -> None:
    """Run after run, as the sensor would start them, until nothing waits."""
    stream = Stream(data_dir, kind=kind)
    while stream.drain().waiting:
        pass
