"""What it costs to screen a stream: single transactions, micro-batches, the commit, and the straightforward way.

    python benchmarks/streaming.py             latency and throughput, on one core
    python benchmarks/streaming.py --soak      30 minutes' worth of 500 transactions a second, as fast as it goes
    python benchmarks/streaming.py --live 60   from file landed to decision committed, through a running `dagster dev`

100,000 users are known; the second stage is an ensemble registered in MLflow.
"""

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import argparse
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np
import polars as pl
from features import transactions
from numpy.typing import NDArray
from rolling_buffers import Straightforward

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.decisions.configuration import engine_in_force
from fraud_pipelines.decisions.second_stage import with_second_stage
from fraud_pipelines.detection.daily_models import DIGEST_TAG, LoadedModel, current_feature_version
from fraud_pipelines.detection.default_schema import DEFAULT_SCHEMA, feature_role
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.supervised import fit_supervised, supervised_schema
from fraud_pipelines.features.engine import fold_rows, prepare
from fraud_pipelines.features.feature_plan import feature_plan
from fraud_pipelines.features.history import Histories, History, empty_histories
from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.features.live import LiveHistories
from fraud_pipelines.features.tables import write_history
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.model_registry import CHAMPION, ModelRegistry
from fraud_pipelines.storage.training_record import TrainingRecord
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.streaming.batches import FrameBatch
from fraud_pipelines.streaming.detector import StreamDetector
from fraud_pipelines.streaming.drain import drain
from fraud_pipelines.streaming.screener import Screener
from fraud_pipelines.streaming.session import StreamSession

T = TypeVar("T")
ENSEMBLE: Final = "fraud-ensemble"
COLLECTED: Final = 12_000
"""Transactions that the detector has seen before anything is measured: its window is full."""
FIRST_INSTANT: Final = datetime(2026, 3, 1)
LAST_DAY: Final = date(2026, 4, 29)
NOW: Final = datetime(2026, 6, 1)


def _folded(earlier: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, History]]:
    compiled = feature_plan(shipped_plan())
    nothing = LabelEvents.nothing(compiled.plan.entities)
    return fold_rows(prepare(earlier, compiled), empty_histories(compiled.programs), nothing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--single", type=int, default=5_000, help="transactions screened one by one")
    parser.add_argument("--batches", type=int, default=30, help="micro-batches of each size")
    parser.add_argument(
        "--straightforward", type=int, default=200, help="transactions screened the straightforward way"
    )
    parser.add_argument("--soak", type=int, nargs="?", const=900_000, help="transactions to play as fast as it goes")
    parser.add_argument("--live", type=int, help="seconds of traffic through a running dagster dev")
    parser.add_argument("--rate", type=int, default=20, help="transactions a second of --live")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(data_dir=Path(name).resolve())
        if arguments.live:
            live(settings, seconds=arguments.live, rate=arguments.rate)
        elif arguments.soak:
            soak(settings, arguments.soak, users=min(arguments.users, 50_000))
        else:
            compare(settings, arguments)


def compare(settings: Settings, arguments: argparse.Namespace) -> None:
    """Every way to screen, on the same transactions."""
    known = 10 * arguments.users
    coming = 2 * (COLLECTED + arguments.single) + 4 * arguments.batches * 1_000 + 10_000
    rows = transactions(known + coming, arguments.users)
    earlier, stream = rows.head(known), rows.slice(known)
    features, histories = _folded(earlier)
    version = current_feature_version(DEFAULT_SCHEMA, shipped_plan())
    ensemble = FraudModel.fit(features.sample(20_000, seed=1), backend="suod", feature_version=version)
    registry = _registered(settings, ensemble)
    warehouse = _warehouse(settings, earlier, histories)
    take = _Taker(stream)

    print(f"{arguments.users:,} users known, {known:,} transactions in the warehouse, one core\n")
    screener = _screener(settings, warehouse, histories, ensemble)
    screener.screen(take(COLLECTED))
    singles = take(arguments.single).to_dicts()
    gated = _each(screener.screen_one, singles)
    print(gated.line("one transaction, in memory"))
    every = _screener_of_every_payment(settings, warehouse, histories, features, ensemble)
    every.screen(take(COLLECTED))
    ungated = _each(every.screen_one, take(arguments.single).to_dicts())
    print(ungated.line("the same, a supervised model deciding every payment"))
    late = np.percentile(ungated.wall, 99) / np.percentile(gated.wall, 99)
    print(f"p99 {late:.2f}× by the clock, CPU {ungated.cpu.mean() / gated.cpu.mean():.2f}×")
    for size in (100, 1_000):
        took = _each(screener.screen, [take(size) for _ in range(arguments.batches)])
        print(took.line(f"micro-batches of {size:,}, in memory", size))
    session = StreamSession(warehouse, registry, settings)
    session.commit([FrameBatch("first", "bench", take(5_000))], now=NOW)
    for size, held in ((1_000, True), (1_000, False)):
        batches = [FrameBatch(f"{size} {held} {k}", "bench", take(size)) for k in range(arguments.batches)]
        what = "committed" if held else "committed, opening the file"
        print(_committed(session, batches, held=held).line(f"micro-batches of {size:,}, {what}", size))

    plain = Straightforward(features)
    plain.know(earlier, {str(row["user_id"]) for row in singles[: arguments.straightforward]})
    simple = _each(plain.screen, singles[: arguments.straightforward], warm_up=5)
    ours = _each(screener.screen_one, take(arguments.straightforward).to_dicts(), warm_up=5)
    print("\n" + simple.line("a Polars buffer per user, PyOD ecod"))
    print(ours.line("this: all features, both stages, the decision"))
    by_clock = np.median(simple.wall) / np.median(ours.wall)
    print(f"{by_clock:.0f}× by the clock, {simple.cpu.mean() / ours.cpu.mean():.0f}× by CPU")


def soak(settings: Settings, count: int, *, users: int = 50_000, rate: int = 500, share: int = 100) -> None:
    """Play ``count`` transactions, a file a second's worth; memory and the size of the warehouse after each run."""
    warehouse = open_warehouse(settings.warehouse_path, plan=shipped_plan(), wait_seconds=60)
    registry = _registered(settings, _ensemble(transactions(60_000, 5_000)))
    folder = settings.landing_stream
    folder.mkdir(parents=True)
    rows = transactions(count, users)
    begun = time.perf_counter()
    failed = 0
    print(f"{'transactions':>14}{'tx/s':>9}{'MB':>8}{'warehouse MB':>14}")
    for start in range(0, count, rate * share):
        for second in range(start, min(start + rate * share, count), rate):
            part = rows.slice(second, rate)
            part.write_ndjson(folder / f"{second:08}.part", check_extension=False)
            (folder / f"{second:08}.part").rename(folder / f"{second:08}.jsonl")
        session = StreamSession(warehouse, registry, settings)
        run = time.perf_counter()
        report = drain(session, folder, clock=lambda: NOW)
        run = time.perf_counter() - run
        failed += bool(report.unreadable) or report.accepted != report.transactions
        megabytes = settings.warehouse_path.stat().st_size / 1e6
        print(
            f"{start + report.accepted:14,}{report.accepted / run:9,.0f}{_resident():8.0f}{megabytes:14.0f}", flush=True
        )
    left = [path.name for path in folder.iterdir() if path.is_file()]
    decided = warehouse.read("SELECT count(*), count(DISTINCT transaction_id) FROM scoring.decisions").row(0)
    judged = warehouse.read("SELECT count(*) FROM scoring.transaction_scores WHERE model_name = ?", [ENSEMBLE]).item()
    print(
        f"{time.perf_counter() - begun:.0f} s; decisions {decided}, {judged:,} of them with the second stage, "
        f"files left {len(left)}, runs failed {failed}"
    )


def live(settings: Settings, *, seconds: int, rate: int) -> None:
    """From file landed to decision committed: the sensor of a running `dagster dev`, and a run of its own."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    environment = os.environ | {"FRAUD_DATA_DIR": str(settings.data_dir), "POLARS_MAX_THREADS": "2"}
    _registered(settings, _ensemble(transactions(60_000, 5_000)))
    command = [sys.executable, "-m", "fraud_pipelines.cli"]
    ports = ["--dagster-port", "3917", "--mlflow-port", "5917"]
    server = subprocess.Popen([*command, "up", *ports], env=environment, start_new_session=True)
    try:
        time.sleep(40)
        subprocess.run(
            [*command, "stream-load", "--rate", str(rate), "--seconds", str(seconds)], env=environment, check=True
        )
        deadline = time.monotonic() + 120
        while any(path.is_file() for path in settings.landing_stream.iterdir()) and time.monotonic() < deadline:
            time.sleep(1)
        batches = Warehouse(settings.warehouse_path).read(
            "SELECT source, processed_at FROM streaming.processed_batches"
        )
    finally:
        os.killpg(server.pid, signal.SIGINT)
        server.wait(60)
    landed = {path.name: path.stat().st_mtime for path in (settings.landing_stream / "_landed").iterdir()}
    waits = [
        processed.replace(tzinfo=UTC).timestamp() - landed[source.removeprefix("stream/")]
        for source, processed in batches.iter_rows()
    ]
    median, worst = np.median(waits), max(waits)
    judged = Warehouse(settings.warehouse_path).read(
        "SELECT count(*) FROM scoring.transaction_scores WHERE channel = 'stream' AND model_name = ?", [ENSEMBLE]
    )
    print(
        f"{len(waits)} batches of {rate}: landed to committed, median {median:.1f} s, worst {worst:.1f} s; "
        f"the second stage judged {judged.item()}"
    )


class Took(NamedTuple):
    """Seconds of each call: on the clock, and of the processor's time, which a busy machine doesn't lengthen."""

    wall: NDArray[np.float64]
    cpu: NDArray[np.float64]

    def line(self, what: str, size: int = 1) -> str:
        median, late = np.percentile(self.wall, (50, 99)) * 1e3
        cpu, busy = self.cpu.mean() * 1e3, np.percentile(self.cpu, 99) * 1e3
        latency = f"median {median:8.2f} ms, p99 {late:8.2f} ms, CPU {cpu:7.2f} ms, p99 {busy:7.2f} ms"
        rate = f"{size / self.wall.mean():9,.0f} tx/s ({size / self.cpu.mean():,.0f} by CPU)" if size > 1 else ""
        return f"{what:52}{latency} {rate}"


class _Taker:
    """Hands out the coming transactions, each once."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self._rows = rows

    def __call__(self, count: int) -> pl.DataFrame:
        taken, self._rows = self._rows.head(count), self._rows.slice(count)
        assert taken.height == count
        return taken


def _each(work: Callable[[T], object], items: Sequence[T], *, warm_up: int = 0) -> Took:
    wall, cpu = [], []
    for item in items:
        # A busy machine likes to go over to another process at a system call, such as the one for the processor's time.
        used, begun = time.process_time(), time.perf_counter()
        work(item)
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - used)
    return Took(np.array(wall[warm_up:]), np.array(cpu[warm_up:]))


def _committed(session: StreamSession, batches: Sequence[FrameBatch], *, held: bool) -> Took:
    if not held:
        return _each(lambda batch: session.commit([batch], now=NOW), batches, warm_up=1)
    with session.warehouse.connect():
        return _each(lambda batch: session.commit([batch], now=NOW), batches, warm_up=1)


def _screener(settings: Settings, warehouse: Warehouse, histories: Histories, ensemble: FraudModel) -> Screener:
    engine = engine_in_force(warehouse, settings, LAST_DAY)
    loaded = LoadedModel(ENSEMBLE, 1, ensemble)
    return Screener(LiveHistories(histories), StreamDetector(), lambda _: engine, lambda _: loaded)


def _screener_of_every_payment(
    settings: Settings, warehouse: Warehouse, histories: Histories, features: pl.DataFrame, ensemble: FraudModel
) -> Screener:
    """One whose second stage is a supervised model, which takes the scores of forest, ensemble and the detector."""
    rows = features.sample(30_000, seed=2)
    forest = FraudModel.fit(rows, backend="isolation_forest", feature_version=ensemble.feature_version)
    rows = rows.with_columns(
        isolation_forest_score=forest.score(rows)["score"],
        suod_score=ensemble.score(rows)["score"],
        ecod_score=forest.score(rows)["score"],
        is_fraud=pl.Series(np.random.default_rng(3).random(rows.height) < 0.01),
    )
    schema = {name: feature_role(of) for name, of in shipped_plan().model_schema.items()}
    schema = dict(supervised_schema({**DEFAULT_SCHEMA, **schema}, rows))
    supervised = fit_supervised(rows.head(20_000), rows.tail(10_000), schema=schema)
    inputs = (LoadedModel("fraud-daily", 1, forest), LoadedModel(ENSEMBLE, 1, ensemble))
    loaded = LoadedModel("fraud-supervised", 1, supervised, inputs)
    engine = engine_in_force(warehouse, settings, LAST_DAY)
    engine = replace(engine, policy=with_second_stage(engine.policy, loaded.name))
    return Screener(LiveHistories(histories), StreamDetector(), lambda _: engine, lambda _: loaded)


def _ensemble(earlier: pl.DataFrame) -> FraudModel:
    features, _ = _folded(earlier)
    version = current_feature_version(DEFAULT_SCHEMA, shipped_plan())
    return FraudModel.fit(features.sample(20_000, seed=1), backend="suod", feature_version=version)


def _registered(settings: Settings, model: FraudModel) -> ModelRegistry:
    registry = ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root)
    registry.initialise()
    with tempfile.TemporaryDirectory() as folder:
        digest = model.save(Path(folder))
        version = registry.log_version(
            ENSEMBLE,
            partition=LAST_DAY,
            fingerprint="1",
            artifact_folder=Path(folder),
            record=TrainingRecord(tags={DIGEST_TAG: digest}),
        )
    registry.set_alias(ENSEMBLE, CHAMPION, version.version)
    return registry


def _warehouse(settings: Settings, earlier: pl.DataFrame, histories: Histories) -> Warehouse:
    """The warehouse as the daily runs leave it: transactions, and every entity's history."""
    warehouse = open_warehouse(settings.warehouse_path, plan=shipped_plan(), wait_seconds=60)
    with warehouse.transaction() as connection:
        stored = earlier.with_columns(
            event_date=pl.col("timestamp").dt.date(), source=pl.lit("bench"), ingested_at=pl.lit(NOW)
        )
        insert(connection, "raw.transactions", stored)
        day = earlier["timestamp"].dt.date().max()
        assert isinstance(day, date)
        for history in histories.values():
            write_history(connection, history.program, history.frame.with_columns(event_date=pl.lit(day)), day)
    return warehouse


def _resident() -> float:
    """Megabytes held now, where the system tells; else the most ever held."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
