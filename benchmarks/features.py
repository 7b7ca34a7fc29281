"""Cost of the features: the project's fold against DuckDB windows, Polars, and sorting and writing alone.

    python benchmarks/features.py --rows 1000000

Each contender runs in a process of its own, from a DuckDB table into a DuckDB table, and computes every feature that
needs no labels; the others leave out novelty, the share of the hour, and links. What they write is compared with what
the fold wrote. Then come the costs of a stream, feedback features included, and of a day in the warehouse after a week
and after sixty days.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import duckdb
import feature_days
import numpy as np
import polars as pl
from feature_contenders import COMPUTED, CONTENDERS
from feature_stream import BATCH, ROWS, USERS, stream

from fraud_pipelines.features.engine import compute_features

TOLERANCE = 1e-9


def main() -> None:
    """Run the contenders in turn and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000], help="sizes to run, one after the other")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--declarations", type=Path, help="a fraud.yaml; the fold against its own floor")
    parser.add_argument("--no-stream", action="store_true", help="leave out the costs of a stream")
    parser.add_argument("--no-days", action="store_true", help="leave out the cost of a day after many")
    parser.add_argument("--run", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(run(arguments.run, arguments.directory)))
        return
    if arguments.declarations:
        os.environ["FRAUD_DECLARATIONS_FILE"] = str(arguments.declarations.resolve())
        os.execv(sys.executable, [sys.executable, __file__, *_without_declarations()])
    for rows in arguments.rows:
        compare(rows, arguments.contenders)
    if not arguments.no_stream:
        report_stream()
    if not arguments.no_days:
        report_days()


def _without_declarations() -> list[str]:
    """The arguments of this process for one that reads the declarations from the environment."""
    given = sys.argv[1:]
    at = next(place for place, text in enumerate(given) if text.startswith("--declarations"))
    return given[:at] + given[at + (1 if "=" in given[at] else 2) :]


def compare(rows: int, contenders: list[str]) -> None:
    """One size: a table of cost, and of the largest difference from the fold."""
    print(f"\n{rows:,} rows, {len(COMPUTED)} features, from a DuckDB table into a DuckDB table")
    print(f"{'':16}{'wall s':>8}{'CPU s':>8}{'GB':>7}   compared with the fold")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        simulate(directory / "source.duckdb", rows)
        for contender in sorted(contenders, key=lambda contender: contender != "fold"):
            command = [sys.executable, __file__, "--run", contender, "--directory", name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{contender:16}failed: {done.stderr.strip().splitlines()[-1]}")
                continue
            cost = json.loads(done.stdout)
            verdict = "" if contender in ("fold", "floor") else differences(directory, contender)
            print(f"{contender:16}{cost['wall']:8.2f}{cost['cpu']:8.2f}{cost['gigabytes']:7.2f}   {verdict}")


def report_stream() -> None:
    """The cost of a stream, in this process."""
    cost = stream(transactions(ROWS, USERS))
    print(f"\nA stream, {cost['users']:,.0f} users known, in memory, all features")
    print(f"{'one transaction':32}median {cost['median'] * 1e3:.2f} ms, p99 {cost['p99'] * 1e3:.2f} ms")
    print(f"{f'micro-batches of {BATCH:,}':32}{cost['rate']:,.0f} transactions/s")


def report_days() -> None:
    """The cost of a day in the warehouse."""
    costs = feature_days.days(transactions(feature_days.DAYS * feature_days.DAY_ROWS, feature_days.USERS))
    print(f"\nA day of {feature_days.DAY_ROWS:,} transactions in the warehouse, with its histories")
    for after, cost in costs.items():
        median = f"median {cost['wall']:.2f} s, {cost['cpu']:.2f} s CPU"
        print(f"{f'after {after} days of history':32}{median}, worst {cost['worst']:.2f} s")


def run(contender: str, directory: Path) -> dict[str, float]:
    """Wall and CPU seconds and peak memory of one contender, imports and compilation aside."""
    with duckdb.connect(str(directory / f"{contender}.duckdb")) as connection:
        connection.execute(f"ATTACH '{directory / 'source.duckdb'}' AS source (READ_ONLY)")
        if contender == "fold":
            compute_features(connection.sql("FROM source.transactions LIMIT 100").pl())
        wall, cpu = time.perf_counter(), time.process_time()
        CONTENDERS[contender](connection)
        connection.execute("CHECKPOINT")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"wall": wall, "cpu": cpu, "gigabytes": peak * (1 if sys.platform == "darwin" else 1024) / 1e9}


def differences(directory: Path, contender: str) -> str:
    """Which features differ from the fold's by more than the tolerance, relative to their size or to 1."""
    with duckdb.connect() as connection:
        for name in ("fold", contender):
            connection.execute(f"ATTACH '{directory / name}.duckdb' AS {name} (READ_ONLY)")
        columns = {each: connection.sql(f"FROM {each}.features LIMIT 0").columns for each in ("fold", contender)}
        shared = [name for name in COMPUTED if name in columns["fold"] and name in columns[contender]]
        worst = ", ".join(
            f'max(CASE WHEN a."{name}" IS NULL AND b."{name}" IS NULL THEN 0 '
            f'WHEN a."{name}" IS NULL OR b."{name}" IS NULL THEN \'inf\'::DOUBLE '
            f'ELSE abs(a."{name}" - b."{name}") / greatest(1, abs(a."{name}"::DOUBLE)) END) AS "{name}"'
            for name in shared
        )
        query = (
            f"SELECT count(*) AS rows, {worst} FROM fold.features a JOIN {contender}.features b USING (transaction_id)"
        )
        found = connection.sql(query).pl().row(0, named=True)
        stored = connection.sql("SELECT count(*) AS rows FROM fold.features").pl().item()
    if found.pop("rows") != stored:
        return "other rows"
    alone = len(COMPUTED) - len(shared)
    told = f", without {alone} that it doesn't compute" if alone else ""
    far = {name: difference for name, difference in found.items() if difference > TOLERANCE}
    if not far:
        return f"equal to {TOLERANCE:g}{told}"
    name = max(far, key=lambda name: far[name])
    return f"{len(far)} features differ, {name} by up to {far[name]:.1e}{told}"


def simulate(path: Path, rows: int) -> None:
    """A table of transactions, 50 a user."""
    frame = transactions(rows, max(rows // 50, 1))
    with duckdb.connect(str(path)) as connection:
        connection.register("frame", frame)
        connection.execute("CREATE TABLE transactions AS FROM frame")


def transactions(rows: int, users: int) -> pl.DataFrame:
    """60 days in order of time, with skewed merchants, no instant twice."""
    rng = np.random.default_rng(0)
    instants = np.unique(rng.integers(0, 60 * 86_400_000_000, rows + rows // 100 + 100))
    instants = np.sort(rng.choice(instants, rows, replace=False))

    def ids(prefix: str, numbers: np.typing.NDArray[np.int64]) -> pl.Series:
        return prefix + pl.Series(numbers).cast(pl.String).str.zfill(8)

    return pl.DataFrame(
        {
            "transaction_id": ids("t", np.arange(rows)),
            "user_id": ids("u", rng.integers(0, users, rows)),
            "timestamp": pl.Series(instants).cast(pl.Duration("us")) + datetime(2026, 3, 1),
            "amount": np.round(rng.lognormal(3.0, 1.0, rows), 2),
            "merchant_id": ids("m", rng.zipf(1.3, rows) % max(rows // 100, 1)),
            "device_fingerprint": ids("d", rng.integers(0, max(rows // 40, 1), rows)),
            "country": np.where(rng.random(rows) < 0.02, "FR", "DE"),
        }
    )


if __name__ == "__main__":
    main()
