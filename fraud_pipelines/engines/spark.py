"""The engine of a Spark cluster: each shard is a task, which writes files and returns their names.

Only what a task returned is stored. Spark may run a task twice; each attempt writes into a folder of its own, so that
what an abandoned attempt left goes with the day's folder and is never stored.
"""

import logging
import os
import pickle
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fraud_pipelines.engines.interface import Costs, Result, ShardCost, Work, name_of, timed
from fraud_pipelines.errors import FraudPipelinesError, MissingData, ShardFailed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OLDEST_JAVA: Final = 17
_REMOTE: Final = "SPARK_REMOTE"
_VERSION: Final = re.compile(r'version "(\d+)')
_PASSED_ON: Final = ("NUMBA_CACHE_DIR", "NUMBA_CPU_NAME")
_THREADS: Final = ("POLARS_MAX_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SCHEMA: Final = "shard long, answer binary"
_SECONDS_TO_CANCEL: Final = 20.0

_log = logging.getLogger(__name__)


@dataclass
class Spark:
    """Runs every shard as a task of a Spark application, which begins with the first and ends with `close`.

    Args:
        shards: how many.
        work_dir: a folder that the driver and all executors see under this path.
        master: where Spark runs, as ``local[2]`` or ``spark://host:7077``. Where ``SPARK_REMOTE`` is set, it counts.
    """

    shards: int
    work_dir: Path
    master: str
    _costs: Costs = field(default_factory=Costs, repr=False)
    _session: "SparkSession | None" = field(default=None, repr=False)
    _thread: ThreadPoolExecutor | None = field(default=None, repr=False)

    def map(self, step: Callable[[Work], Result], works: Sequence[Work]) -> list[Result]:
        """See `Engine.map`.

        Raises:
            MissingData: the extra ``spark`` or Java is missing, or too old.
        """
        if not works:
            return []
        require_spark(remote=bool(os.environ.get(_REMOTE)))
        tag = f"fraud-{uuid.uuid4().hex}"
        if self._thread is None:
            # Not this one: PySpark would take over its signals, and while it waits for Java nothing could cancel it.
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="spark")
        running = self._thread.submit(self._run, step, works, tag)
        try:
            while not running.done():
                wait([running], timeout=0.5)
            answers = running.result()
        except BaseException:
            self._cancel(tag)
            wait([running], timeout=_SECONDS_TO_CANCEL)
            raise
        found: dict[int, Result] = {}
        for shard, answer in answers:
            if isinstance(answer, FraudPipelinesError):
                raise answer
            if isinstance(answer, OSError):
                raise ShardFailed(
                    f"Shard {shard + 1} of the step '{name_of(step)}' failed: {answer}. Nothing of the day was stored; "
                    "run it again."
                ) from answer
            result, cost = answer
            self._costs.add(cost)
            found[shard] = result
        _log.info("Spark: %s, %s shards", name_of(step), len(works))
        return [found[shard] for shard in range(len(works))]

    def taken_costs(self) -> list[ShardCost]:
        """See `Engine.taken_costs`."""
        return self._costs.taken()

    def described(self) -> str:
        """The application, and where its page is."""
        if self._session is None or os.environ.get(_REMOTE):
            return f"Spark at {os.environ.get(_REMOTE) or self.master}"
        context = self._session.sparkContext
        page = f", {context.uiWebUrl}" if context.uiWebUrl else ""
        return f"Spark {self._session.version} at {self.master}: {context.applicationId}{page}"

    def close(self) -> None:
        """End the application. Java, where it runs on this machine, ends with this process."""
        session, self._session = self._session, None
        if session is not None:
            session.stop()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None

    def _run(self, step: Callable[[Work], Result], works: Sequence[Work], tag: str) -> list[tuple[int, Any]]:
        from pyspark.errors import PySparkException

        try:
            session = self._opened()
            if os.environ.get(_REMOTE):
                session.addTag(tag)
            else:
                session.sparkContext.setJobGroup(tag, name_of(step), interruptOnCancel=True)
            # One row a partition, and so one task a shard: what is to be done travels with the function.
            tasks = [pickle.dumps((step, work)) for work in works]
            rows = session.range(0, len(works), 1, len(works)).mapInArrow(partial(run_shards, tasks), _SCHEMA).collect()
        except PySparkException as error:
            raise ShardFailed(
                f"Spark gave up the step '{name_of(step)}': {_cause(str(error))}. Nothing of the day was stored; run "
                "it again."
            ) from error
        return [(row["shard"], pickle.loads(row["answer"])) for row in rows]

    def _opened(self) -> "SparkSession":
        if self._session is None:
            from pyspark.sql import SparkSession

            builder = SparkSession.builder.appName("fraud_pipelines")
            if not os.environ.get(_REMOTE):
                for name, value in configuration(self.master).items():
                    builder = builder.config(name, value)
                builder = builder.master(self.master)
                if self.master.startswith("local"):
                    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
            self._session = builder.getOrCreate()
        return self._session

    def _cancel(self, tag: str) -> None:
        if self._session is not None and os.environ.get(_REMOTE):
            self._session.interruptTag(tag)
        elif self._session is not None:
            self._session.sparkContext.cancelJobGroup(tag)


def run_shards(tasks: Sequence[bytes], batches: Iterator[Any]) -> Iterator[Any]:
    """What an executor does: the shards whose numbers it is given, each with its answer."""
    import pyarrow as pa
    from pyspark import TaskContext

    context = TaskContext.get()
    attempt = context.taskAttemptId() if context else 0
    for batch in batches:
        for shard in batch.column(0).to_pylist():
            step, work = pickle.loads(tasks[shard])
            work = replace(work, folder=work.folder / f"attempt-{attempt}")
            try:
                answer: object = timed(step, shard, work)
            except (FraudPipelinesError, OSError) as error:
                answer = error
            yield pa.RecordBatch.from_pydict(
                {"shard": pa.array([shard], pa.int64()), "answer": pa.array([pickle.dumps(answer)], pa.binary())}
            )


def configuration(master: str) -> dict[str, str]:
    """What the application is told; ``spark-defaults.conf`` and ``SPARK_CONF_DIR`` say the rest."""
    found = {f"spark.executorEnv.{name}": "1" for name in _THREADS}
    found |= {f"spark.executorEnv.{name}": os.environ[name] for name in _PASSED_ON if os.environ.get(name)}
    if master.startswith("local"):
        found |= {
            "spark.executorEnv.PYTHONPATH": os.pathsep.join(_import_path()),
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.showConsoleProgress": "false",
        }
    return found


def _import_path() -> list[str]:
    """Where executors on this machine find this package, and what else this process was told by ``PYTHONPATH``."""
    told = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return list(dict.fromkeys([str(Path(__file__).parents[2]), *filter(None, told)]))


def require_spark(*, remote: bool) -> None:
    """Say what is missing, before anything is begun.

    Args:
        remote: Spark runs elsewhere: no Java is needed here.

    Raises:
        MissingData: the extra ``spark`` or Java is missing, or too old.
    """
    if find_spec("pyspark") is None:
        raise MissingData("FRAUD_ENGINE=spark needs PySpark: pip install 'fraud-pipelines[spark]'")
    if remote:
        return
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    wanted = f"Spark needs Java {OLDEST_JAVA} or newer; install it, or name it by JAVA_HOME"
    if java is None or not Path(java).exists():
        raise MissingData(f"There is no Java at {java}. {wanted}." if java else f"There is no Java. {wanted}.")
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = _VERSION.search(told)
    if version is None or int(version[1]) < OLDEST_JAVA:
        first = next(iter(told.splitlines()), "nothing")
        raise MissingData(f"{java} is too old: it says {first}. {wanted}.")


def _cause(text: str) -> str:
    """The line of a Python error in what Spark tells, or the first of all."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b.*:", line)]
    return (errors[-1] if errors else lines[0]).rstrip(".") if lines else "no cause is told"
