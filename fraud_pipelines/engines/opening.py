"""The engine that the settings name."""

from fraud_pipelines.engines.in_process import InProcess
from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.engines.processes import Processes
from fraud_pipelines.settings import Settings


def engine_of(settings: Settings) -> Engine:
    """What runs the shards of a day; it starts nothing before there is something to run."""
    if settings.engine == "spark":
        from fraud_pipelines.engines.spark import Spark

        return Spark(max(settings.shards, 2), settings.work_path, settings.spark_master)
    if settings.shards > 1:
        return Processes(settings.shards, settings.work_path)
    return InProcess(1, settings.work_path)
