"""What decisions cost, from a cold start: whoever is shown to be best against the ensemble behind its gate.

    FRAUD_REFERENCE_DATA=folder python benchmarks/deciding.py
    FRAUD_REFERENCE_DATA=folder python benchmarks/deciding.py --judged-from 2018-05-15 --to 2018-06-15 --keep folder

The product itself runs day by day, once with each second stage, on the same payments: the Fraud Detection Handbook's,
landed through the mapping that ships, from the first day of the first file on. Nothing is known then, and labels arrive
seven days after their payments. What is decided from ``--judged-from`` on is judged by the truth. Each run takes
four minutes or more on two cores for ninety-one days.

Cost is the policy's: so much for an alert, and the amount of each fraud that was approved. ``blocks right`` is the
share of blocked payments that are frauds. ``most alerts`` is that of any day as a share of what the policy bears.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fraud_pipelines.bootstrap import live_warehouse
from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.settings import Settings

MAPPING: Final = Path(__file__).parents[1] / "data" / "mappings" / "handbook.yaml"
ARMS: Final = ("best", "fraud-ensemble")

_JUDGED: Final = """
    WITH truth AS (
        SELECT transaction_id, bool_or(actual_fraud) AS is_fraud FROM feedback.labels GROUP BY transaction_id
    ), judged AS (
        SELECT d.event_date, d.decision, d.reason, t.amount, coalesce(l.is_fraud, false) AS is_fraud
        FROM scoring.decisions d
        JOIN raw.payments t USING (transaction_id)
        LEFT JOIN truth l USING (transaction_id)
        WHERE d.channel = 'batch' AND d.event_date BETWEEN $first AND $last
    )
    SELECT count(*) FILTER (decision <> 'approve') AS alerts,
           count(*) FILTER (decision <> 'approve' AND is_fraud) AS caught,
           count(*) FILTER (is_fraud) AS frauds,
           count(*) FILTER (decision = 'block') AS blocks,
           count(*) FILTER (decision = 'block' AND is_fraud) AS blocked_frauds,
           coalesce(sum(amount) FILTER (decision = 'approve' AND is_fraud), 0) AS missed,
           count(*) FILTER (reason = 'alert_cap') AS beyond_the_cap,
           count(DISTINCT event_date) AS days
    FROM judged
"""
_DAYS: Final = """
    SELECT event_date, count(*) AS payments, count(*) FILTER (decision <> 'approve') AS alerts
    FROM scoring.decisions WHERE channel = 'batch' AND event_date BETWEEN $first AND $last GROUP BY event_date
"""
_DECIDED_BY: Final = """
    SELECT deciding_model, min(as_of), max(as_of), count(*) FROM monitoring.model_promotions
    WHERE deciding_model IS NOT NULL AND as_of <= $last GROUP BY deciding_model ORDER BY 2
"""


def main() -> None:
    """Run the days with each second stage, and print what it comes to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = os.environ.get("FRAUD_REFERENCE_DATA")
    parser.add_argument("--data", type=Path, default=folder, required=not folder, help="folder of the Parquet files")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=date(2018, 4, 1))
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=date(2018, 6, 30))
    parser.add_argument("--judged-from", type=date.fromisoformat, default=date(2018, 6, 1))
    parser.add_argument("--policy", default="balanced")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), help="second stages to run")
    parser.add_argument("--keep", type=Path, help="keep the data directories there, and go on from what they hold")
    arguments = parser.parse_args()

    console = Console(width=140)
    with tempfile.TemporaryDirectory() as temporary:
        root = (arguments.keep or Path(temporary)).resolve()
        rows = {arm: _run(root / arm, arm, arguments, console) for arm in arguments.arms}
    table = Table(box=SIMPLE_HEAD, title=f"{arguments.judged_from} to {arguments.last}, policy {arguments.policy}")
    for name in ("second stage", *next(iter(rows.values()))):
        table.add_column(name, justify="left" if name == "second stage" else "right")
    for arm, row in rows.items():
        table.add_row(arm, *row.values())
    console.print(table)


def _run(data_dir: Path, arm: str, arguments: argparse.Namespace, console: Console) -> Mapping[str, str]:
    environment = os.environ | {
        "FRAUD_DATA_DIR": str(data_dir),
        "DAGSTER_HOME": str(data_dir / "dagster"),
        "FRAUD_POLICY": "judged",
        "FRAUD_POLICIES_FILE": str(data_dir / "policies.yaml"),
    }
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "policies.yaml").write_text(
        f"policies: {{judged: {{based_on: {arguments.policy}, second_stage: {arm}}}}}\n"
    )
    started = time.perf_counter()
    settings = Settings(data_dir=data_dir, policy="judged", policies_file=data_dir / "policies.yaml")
    if not live_warehouse(settings).path.exists():
        for file in sorted(arguments.data.glob("*.parquet")):
            _command(environment, "import", str(file), "--mapping", str(MAPPING))
    warehouse = live_warehouse(settings, wait_seconds=60)
    done = warehouse.read("SELECT max(event_date) FROM scoring.decisions WHERE channel = 'batch'").item()
    first = max(arguments.first, done + timedelta(days=1)) if done else arguments.first
    if first <= arguments.last:
        _command(environment, "run", "--from", str(first), "--to", str(arguments.last))
    console.print(f"{arm}: {time.perf_counter() - started:.0f} s")
    judged = {"first": arguments.judged_from, "last": arguments.last}
    for model, begun, ended, days in warehouse.read(_DECIDED_BY, {"last": arguments.last}).iter_rows():
        console.print(f"  {model} decided {days} days, {begun} to {ended}")
    policy = policy_in_force(settings)
    row = warehouse.read(_JUDGED, judged).row(0, named=True)
    cost = policy.review_cost * row["alerts"] + policy.loss_share * row["missed"]
    days = warehouse.read(_DAYS, judged)
    of_bound = max(alerts / policy.most_alerts(payments) for _, payments, alerts in days.iter_rows())
    return {
        "alerts a day": f"{row['alerts'] / row['days']:.1f}",
        "precision": f"{row['caught'] / row['alerts']:.3f}",
        "recall": f"{row['caught'] / row['frauds']:.3f}",
        "blocks a day": f"{row['blocks'] / row['days']:.1f}",
        "blocks right": f"{row['blocked_frauds'] / max(row['blocks'], 1):.3f}",
        "cost a day": f"{cost / row['days']:,.0f}",
        "most alerts": f"{of_bound:.2f}",
        "beyond the cap": str(row["beyond_the_cap"]),
    }


def _command(environment: Mapping[str, str], *arguments: str) -> None:
    command = Path(sys.executable).with_name("fraud-pipelines")
    subprocess.run([str(command), *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
