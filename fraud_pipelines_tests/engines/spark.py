"""Spark for tests: one application for all of a module, where PySpark and Java are there."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fraud_pipelines.engines.spark import Spark, require_spark
from fraud_pipelines.errors import MissingData


def spark_engine(folder: Path, shards: int, master: str = "local[2]") -> Iterator[Spark]:
    """A local application; skips the test, with the reason, where Spark can't run."""
    try:
        require_spark(remote=False)
    except MissingData as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SPARK_REMOTE", raising=False)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setitem(os.environ, "SPARK_CONF_DIR", str(_quiet(folder)))
        with closing(Spark(shards, folder / "work", master)) as engine:
            yield engine


def _quiet(folder: Path) -> Path:
    """A folder of configuration without a page, and without a line for everything that Spark does."""
    conf = folder / "conf"
    conf.mkdir(parents=True)
    (conf / "spark-defaults.conf").write_text("spark.ui.enabled false\nspark.sql.shuffle.partitions 2\n")
    (conf / "log4j2.properties").write_text("rootLogger.level = off\n")
    return conf
