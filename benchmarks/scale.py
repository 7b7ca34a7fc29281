"""A day of features, scores and decisions in memory, in shards, and on Spark; and what much bigger days would need.

    python benchmarks/scale.py --rows 1000000 5000000

A day follows on another one, whose histories it continues, in a DuckDB warehouse. Each engine computes the same day in
a process of its own, from the warehouse into a copy of it. What they store is compared by a digest. From the costs the
script states, with its assumptions, what a day of a hundred million and of a billion payments needs.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
from features import transactions
from scale_steps import Nothing, load_libraries

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.policies import initial_thresholds, policy_named
from fraud_pipelines.decisions.recorded_day import decide_and_record
from fraud_pipelines.detection.daily_models import DAILY_MODEL, DIGEST_TAG, LoadedModel
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import FeatureRole
from fraud_pipelines.detection.scored_day import scored_day
from fraud_pipelines.engines.in_process import InProcess
from fraud_pipelines.engines.interface import Engine, Result, ShardCost, Work, name_of, peak_bytes
from fraud_pipelines.engines.processes import Processes
from fraud_pipelines.engines.spark import Spark, require_spark
from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.derivation import derive_day
from fraud_pipelines.features.frames import features_digest, sample_features
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.connection import insert, select
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.processors import cores
from fraud_pipelines.storage.warehouse import Warehouse

DAYS = (date(2026, 3, 1), date(2026, 3, 2))
NOW = datetime(2026, 3, 3)
ENGINES = ("local", "sharded", "spark")
DECIDING = DecisionEngine(policy_named("balanced"), initial_thresholds(policy_named("balanced"), DAYS[1]))
PAYMENTS_A_USER = 2
BIG_DAYS = (100_000_000, 1_000_000_000)
ENOUGH_TO_PROJECT = 1_000_000
HOURS = 4
SHARD_ROWS = 2_500_000
FILE = "live.duckdb"


@dataclass
class Measured:
    """An engine, and how long its maps took, and how many bytes lay in the folders of the day at most."""

    inner: Engine
    seconds: dict[str, float] = field(default_factory=dict)
    narrow_bytes: int = 0
    folder_bytes: int = 0

    @property
    def shards(self) -> int:
        return self.inner.shards

    @property
    def work_dir(self) -> Path:
        return self.inner.work_dir

    def map(self, step: Callable[[Work], Result], works: Sequence[Work]) -> list[Result]:
        begun = time.perf_counter()
        found = self.inner.map(step, works)
        self.seconds[name_of(step)] = time.perf_counter() - begun
        files = [path for path in self.work_dir.rglob("*") if path.is_file()]
        self.folder_bytes = max(self.folder_bytes, sum(path.stat().st_size for path in files))
        narrow = sum(path.stat().st_size for path in files if path.suffix == ".arrow")
        self.narrow_bytes = max(self.narrow_bytes, narrow)
        return found

    def taken_costs(self) -> list[ShardCost]:
        return self.inner.taken_costs()

    def described(self) -> str:
        return self.inner.described()

    def close(self) -> None:
        self.inner.close()


def main() -> None:
    """Run the engines in turn, print a table for each size, and what follows for big days."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000], help="payments of the day")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--skewed", action="store_true", help="one merchant has a tenth, and one user 100,000")
    parser.add_argument("--folder", type=Path, help="where the warehouses lie while it runs")
    parser.add_argument("--run", choices=ENGINES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(run(arguments.run, arguments.shards, arguments.folder)))
        return
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            found = compare(rows, arguments.engines, arguments.shards, Path(name), skewed=arguments.skewed)
        if found and rows >= ENOUGH_TO_PROJECT:
            project(rows, found)
        elif found:
            print(f"From fewer than {ENOUGH_TO_PROJECT:,} payments nothing follows for big days: starting costs most.")


def compare(rows: int, engines: Sequence[str], shards: int, folder: Path, *, skewed: bool) -> dict[str, Any] | None:
    """One size: a table of costs. Returns those of the first engine that cut the day."""
    prepare(folder / "before", rows, skewed=skewed)
    print(f"\nA day of {rows:,} payments{', skewed' if skewed else ''}, {shards} shards, {cores()} cores")
    print(f"{'':9}{'wall s':>8}{'CPU s':>8}{'rows/s':>10}{'B/row/core':>12}{'driver GB':>11}{'worker GB':>11}  stored")
    digest: str | None = None
    first: dict[str, Any] | None = None
    for engine in engines:
        if engine == "spark" and (missing := _missing()):
            print(f"{engine:9}{missing}")
            continue
        shutil.copytree(folder / "before", folder / "run")
        command = [sys.executable, __file__, "--run", engine, "--shards", str(shards), "--folder", str(folder / "run")]
        path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path}  # Spark's workers import the steps of this folder, too
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        shutil.rmtree(folder / "run")
        if done.returncode:
            print(f"{engine:9}failed: {(done.stderr.strip().splitlines() or ['nothing is told'])[-1]}")
            continue
        cost = json.loads(done.stdout.splitlines()[-1])
        digest = digest or cost["digest"]
        same = "the same" if cost["digest"] == digest else "SOMETHING ELSE"
        peak = max(cost["worker"], cost["driver"] if engine == "local" else 0)
        print(
            f"{engine:9}{cost['wall']:8.1f}{cost['cpu']:8.1f}{rows / cost['wall']:10,.0f}"
            f"{peak / rows / cores():12,.0f}{cost['driver'] / 1e9:11.2f}{cost['worker'] / 1e9:11.2f}  {same}"
        )
        if engine != "local":
            steps = ", ".join(
                f"{step} {seconds:.1f} ({cost['step_cpu'].get(step, 0):.1f})" for step, seconds in cost["steps"].items()
            )
            alone = f"driver alone {cost['alone']:.1f} ({cost['driver_cpu']:.1f})"
            print(f"{'':9}of it, wall and (CPU) s: {steps}, {alone}; slowest shard {cost['slowest']:.1f} s")
            first = first or cost
    return first


def project(rows: int, cost: dict[str, Any]) -> None:
    """What big days need, in proportion to what was measured."""
    shard_cpu = (cost["cpu"] - cost["driver_cpu"]) / rows
    alone = cost["alone"] / rows
    print(
        f"\nIn proportion to {rows:,} rows. Assumed: costs grow with the rows, {HOURS} h for a day, {SHARD_ROWS:,} "
        "rows a shard, as many payments a user as here, disks and network that keep up."
    )
    names = f"{'cores':>7}{'shards':>8}{'GB a worker':>13}{'stored GB':>11}{'moved GB':>10}{'driver h':>10}"
    print(f"{'payments':>14}{names}")
    # What a process needs for its libraries, whatever its shard, was measured without any rows.
    worker = (cost["base"] + (cost["worker"] - cost["base"]) / (rows / cost["shards"]) * SHARD_ROWS) / 1e9
    for big in BIG_DAYS:
        needed = max(shard_cpu * big / (HOURS * 3600), 1)
        stored, moved = (cost[name] / rows * big / 1e9 for name in ("stored", "narrow"))
        print(
            f"{big:14,}{needed:7.0f}{-(-big // SHARD_ROWS):8}{worker:13.1f}{stored:11,.0f}{moved:10,.0f}"
            f"{alone * big / 3600:10.1f}"
        )
    limit = HOURS * 3600 / alone
    print(
        "The first bottleneck is the driver, which alone reads the warehouse and writes to it: in "
        f"{HOURS} h it gets to {limit / 1e6:,.0f} million payments, however many cores there are."
    )


def run(kind: str, shards: int, folder: Path) -> dict[str, object]:
    """One engine: the second day's features, scores and decisions."""
    work = folder / "work"
    inner: Engine
    if kind == "local":
        inner = InProcess(1, work)
    elif kind == "sharded":
        inner = Processes(shards, work)
    else:
        inner = Spark(shards, work, f"local[{cores()}]")
    warehouse = Warehouse(folder / FILE)
    before = (folder / FILE).stat().st_size
    model = _model(warehouse)
    inner.map(load_libraries, [Nothing(work)] * (2 * cores()))  # before the clock starts, and to see what that takes
    base = max(each.peak_bytes for each in inner.taken_costs())
    engine = Measured(inner)
    wall, cpu = time.perf_counter(), time.process_time()
    with closing(engine):
        derive_day(warehouse, DAYS[1], plan=shipped_plan(), engine=engine)
        with scored_day(warehouse, [model], engine, day=DAYS[1], now=NOW) as scored:
            warehouse.overwrite("scoring.transaction_scores", scored.rows, event_date=DAYS[1], channel="batch")
        decide_and_record(warehouse, registry_of(model, folder), DECIDING, engine, day=DAYS[1], now=NOW)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        costs = engine.taken_costs()
    with warehouse.connect(read_only=True) as connection:
        digest = features_digest(connection, DAYS[1], DAYS[1]) + "".join(
            str(select(connection, f"SELECT sum(hash(t)::HUGEINT) FROM {table} t").item())
            for table in ("scoring.transaction_scores", "scoring.decisions")
        )
    return {
        "wall": wall,
        "cpu": cpu + (sum(each.cpu_seconds for each in costs) if kind != "local" else 0),
        "driver_cpu": cpu,
        "driver": peak_bytes(),
        "worker": max((each.peak_bytes for each in costs), default=0),
        "base": base,
        "shards": inner.shards,
        "steps": engine.seconds,
        "step_cpu": {
            step: sum(each.cpu_seconds for each in costs if each.step == step) for step in {each.step for each in costs}
        },
        "alone": wall - sum(engine.seconds.values()),
        "slowest": max((each.seconds for each in costs), default=0),
        "narrow": engine.narrow_bytes,
        "stored": (folder / FILE).stat().st_size - before,
        "digest": digest,
    }


def prepare(folder: Path, rows: int, *, skewed: bool) -> None:
    """A warehouse with two days of payments, of which the first has its features."""
    folder.mkdir()
    warehouse = open_warehouse(folder / FILE, plan=shipped_plan(), wait_seconds=10)
    both = transactions(2 * rows, max(rows // PAYMENTS_A_USER, 1))
    if skewed:
        number = pl.int_range(pl.len())
        both = both.with_columns(
            merchant_id=pl.when(number % 10 == 0).then(pl.lit("m-of-all")).otherwise("merchant_id"),
            user_id=pl.when(number % rows < min(100_000, rows // 4)).then(pl.lit("u-of-all")).otherwise("user_id"),
        )
    for day, of_day in zip(DAYS, (both.head(rows), both.tail(rows)), strict=True):
        store_day(warehouse, day, of_day, now=NOW)
    derive_day(warehouse, DAYS[0], plan=shipped_plan())


def store_day(warehouse: Warehouse, day: date, payments: pl.DataFrame, *, now: datetime) -> None:
    """Store payments as those of ``day``, evenly over its hours."""
    apart = timedelta(days=1) // timedelta(microseconds=1) // payments.height
    start = pl.datetime(day.year, day.month, day.day, time_unit="us")
    stored = payments.with_columns(
        timestamp=start + pl.duration(microseconds=pl.int_range(pl.len()) * apart),
        event_date=pl.lit(day),
        source=pl.lit("benchmark"),
        ingested_at=pl.lit(now),
    )
    with warehouse.transaction() as connection:
        insert(connection, "raw.transactions", stored)


def _model(warehouse: Warehouse) -> LoadedModel:
    sample = sample_features(warehouse, DAYS[0], DAYS[0], most=50_000).rows
    names = ("amount", "tx_count_24h", "amount_vs_avg", "merchant_tx_count_24h")
    schema = dict.fromkeys(names, FeatureRole(role="numeric"))
    return LoadedModel(DAILY_MODEL, 1, FraudModel.fit(sample, backend="isolation_forest", schema=schema))


def registry_of(model: LoadedModel, folder: Path) -> ModelRegistry:
    """A registry that holds one version of one model."""
    place = folder / "model"
    found = SimpleNamespace(tags={DIGEST_TAG: model.model.save(place)})
    return cast(ModelRegistry, SimpleNamespace(get_version=lambda *_: found, download=lambda *_: place))


def _missing() -> str:
    try:
        require_spark(remote=False)
    except MissingData as error:
        return str(error)
    return ""


if __name__ == "__main__":
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    main()
