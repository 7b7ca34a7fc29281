"""Days of payments by every engine: features, models, scores and decisions are the same to the bit, or it fails.

    python benchmarks/equal_days.py --payments 100000 --days 10

Each engine computes all days from the same payments, in a process of its own: it derives the features, trains a model
on a sample of the day before, scores, and decides with a cap on alerts, an audit sample and a hard rule. A digest of
each table is compared with that of the first engine. It is no measurement of time.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from features import transactions
from scale import store_day

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.decisions.audit import audit_decisions
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hard_rules import HardRule, HardRules
from fraud_pipelines.decisions.hash_chain import ENTRY_SCHEMA
from fraud_pipelines.decisions.policies import initial_thresholds, policy_named
from fraud_pipelines.decisions.recorded_day import decide_and_record
from fraud_pipelines.detection.daily_models import DAILY_MODEL, DIGEST_TAG, LoadedModel
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.scored_day import scored_day
from fraud_pipelines.engines.in_process import InProcess
from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.engines.processes import Processes
from fraud_pipelines.engines.spark import Spark
from fraud_pipelines.features.derivation import derive_day
from fraud_pipelines.features.frames import sample_features
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse

FIRST = date(2026, 3, 1)
NOW = datetime(2026, 4, 1)
ENGINES = ("local/1", "sharded/2", "sharded/8", "spark/2", "spark/8")
FILE = "live.duckdb"
SAMPLE = 20_000
COLUMNS = ("amount", "tx_count_24h", "amount_vs_avg", "merchant_tx_count_24h")
TABLES = {
    "features": ("FROM features.transaction_features", "transaction_id"),
    "scores": ("SELECT * EXCLUDE scored_at FROM scoring.transaction_scores", "transaction_id"),
    "decisions": ("FROM scoring.decisions", "transaction_id"),
    "log": (f"SELECT {', '.join(ENTRY_SCHEMA.names())} FROM scoring.decision_revisions", "transaction_id, revision"),
}
POLICY = policy_named("balanced").model_copy(update={"audit_per_day": 100, "alert_budget": 100})


def main() -> None:
    """Run the engines in turn; exit 1 where one of them gives something else."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--payments", type=int, default=100_000, help="of a day")
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--folder", type=Path, help="where the warehouses lie while it runs")
    parser.add_argument("--run", choices=ENGINES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(digests(arguments.run, arguments.days, arguments.folder)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        equal = compare(arguments.payments, arguments.days, arguments.engines, Path(name))
    sys.exit(not equal)


def compare(payments: int, days: int, engines: Sequence[str], folder: Path) -> bool:
    """Whether all engines give the same."""
    store_payments(folder / "before", payments, days)
    print(f"{days} days of {payments:,} payments", flush=True)
    first: dict[str, str] = {}
    equal = True
    for engine in engines:
        shutil.copytree(folder / "before", folder / "run")
        command = [sys.executable, __file__, "--run", engine, "--days", str(days), "--folder", str(folder / "run")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        shutil.rmtree(folder / "run")
        if done.returncode:
            print(f"{engine:10} failed: {(done.stderr.strip().splitlines() or ['nothing is told'])[-1]}", flush=True)
            equal = False
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        first = first or found
        told = [f"{name} {'equal' if found[name] == first[name] else 'OTHER'}" for name in first]
        equal &= found == first
        print(f"{engine:10} {', '.join(told)}", flush=True)
    return equal


def digests(name: str, days: int, folder: Path) -> dict[str, str]:
    """All days by one engine: a digest of each table and of the models."""
    kind, _, shards = name.partition("/")
    engine: Engine
    if kind == "local":
        engine = InProcess(1, folder / "work")
    elif kind == "sharded":
        engine = Processes(int(shards), folder / "work")
    else:
        engine = Spark(int(shards), folder / "work", "local[2]")
    warehouse, plan = Warehouse(folder / FILE), shipped_plan()
    models: dict[tuple[str, int], str] = {}

    def version(name: str, number: int) -> object:
        return SimpleNamespace(tags={DIGEST_TAG: models[name, number]})

    registry = SimpleNamespace(get_version=version, download=lambda _, number: folder / f"model-{number}")
    with closing(engine):
        for number in range(days):
            day = FIRST + timedelta(days=number)
            derive_day(warehouse, day, plan=plan, engine=engine)
            if not number:
                continue
            sample = sample_features(warehouse, day - timedelta(days=1), day - timedelta(days=1), most=SAMPLE).rows
            fitted = FraudModel.fit(
                sample.sort("timestamp", "transaction_id"),
                backend="isolation_forest",
                schema=dict.fromkeys(COLUMNS, "numeric"),
            )
            model = LoadedModel(DAILY_MODEL, number, fitted)
            models[DAILY_MODEL, number] = fitted.save(folder / f"model-{number}")
            with scored_day(warehouse, [model], engine, day=day, now=NOW) as scored:
                warehouse.overwrite("scoring.transaction_scores", scored.rows, event_date=day, channel="batch")
            decide_and_record(warehouse, cast(ModelRegistry, registry), deciding(day), engine, day=day, now=NOW)
        if findings := audit_decisions(warehouse, engine=engine).findings:
            raise SystemExit(f"the log doesn't verify: {findings[0]}")
    found = {
        table: warehouse.read(f"SELECT md5(string_agg(md5(t::VARCHAR), '' ORDER BY {key})) FROM ({query}) t").item()
        for table, (query, key) in TABLES.items()
    }
    return found | {"models": hashlib.sha256(repr(sorted(models.items())).encode()).hexdigest()}


def deciding(day: date) -> DecisionEngine:
    """A policy with all that needs a whole day."""
    rule = {"name": "large", "decision": "review", "expires": day, "when": {"amount": {"above": 1000}}}
    return DecisionEngine(POLICY, initial_thresholds(POLICY, day), HardRules(rules=(HardRule.model_validate(rule),)))


def store_payments(folder: Path, payments: int, days: int) -> None:
    """A warehouse with the payments, and nothing computed."""
    folder.mkdir()
    warehouse = open_warehouse(folder / FILE, plan=shipped_plan(), wait_seconds=10)
    every = transactions(payments * days, max(payments // 2, 1))
    for number in range(days):
        store_day(warehouse, FIRST + timedelta(days=number), every.slice(number * payments, payments), now=NOW)


if __name__ == "__main__":
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    main()
