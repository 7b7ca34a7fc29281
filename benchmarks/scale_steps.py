"""A step that does nothing: what a process takes for its libraries and compiled code alone."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Nothing:
    """A shard without rows."""

    folder: Path


def load_libraries(work: Nothing) -> Path:
    """Import what the steps import, the compiled fold included."""
    from fraud_pipelines.decisions import shards as deciding
    from fraud_pipelines.detection import kernels, scored_day
    from fraud_pipelines.features import kernel, label_kernel, shards

    _ = deciding, kernels, scored_day, kernel, label_kernel, shards
    return work.folder
