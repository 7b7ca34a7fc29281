"""The product in every world: how what decides ranks and what it costs, against models that are fixed beforehand.

    python benchmarks/worlds.py
    python benchmarks/worlds.py --worlds velocity night --days 28 --keep folder
    python benchmarks/worlds.py --processes 2

Each world (docs/worlds.md) is simulated and run day by day through the daily job, as `fraud-pipelines demo` does, with
the policy that ships and no other setting: nothing is known on the first day, reviewers answer the day after, and what
was let through is charged back weeks later, or never. The last ``--judged`` days are judged by the truth:

- decisions: the product, by the score that decided each payment.
- amount: the largest payments first.
- forest: an isolation forest that learned from the first seven days, by the features that need no labels, and stays.
- all labels: gradient boosting that for each judged day learned from the truth of every day before, as nobody could.

Average precision is the mean over days. Recall at the budget is that of as many payments a day as the policy expects to
alert, those that rank highest. Cost is the policy's, a day: so much for an alert, and the amount of each fraud that was
not alerted; of the decisions as they were, of the others at the budget. ``blocks right`` is the share of blocks that
are frauds.

``ahead after`` counts the days from the first label to the first day from which on what decides ranks better than the
amount in every week. ``right after`` counts those until a model decides for good whose average precision on the judged
days is within .02 of the best of all that scored. A world takes some two minutes on two cores that do nothing else.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Final

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score

from fraud_pipelines.decisions.policies import Policy
from fraud_pipelines.detection.default_schema import default_schema
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import parse_schema
from fraud_pipelines.detection.supervised import LABEL, fit_supervised, supervised_schema
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.simulator import WORLDS, SimulationConfig

DECISIONS: Final = "decisions"
AMOUNT: Final = "amount"
FOREST: Final = "forest"
ALL_LABELS: Final = "all labels"
RANKINGS: Final = (DECISIONS, AMOUNT, FOREST, ALL_LABELS)
FOREST_DAYS: Final = 7
AS_GOOD: Final = 0.02
"""Average precision by which models of a fortnight differ by chance."""
WEEK: Final = 7


@dataclass(frozen=True)
class Figures:
    """Of one ranking on the judged days: mean daily average precision, recall at the budget, cost a day."""

    average_precision: float
    recall: float
    cost: float


@dataclass(frozen=True)
class Outcome:
    """How a world went; days are counted from the first label, None where it never came to that."""

    rankings: Mapping[str, Figures]
    alerts_a_day: float
    blocks_right: float | None
    decides: str
    right_after: int | None
    ahead_after: int | None
    seconds: float


def main() -> None:
    """Run the worlds, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS))
    parser.add_argument("--days", type=int, default=35)
    parser.add_argument("--judged", type=int, default=14, help="the last so many days are judged")
    parser.add_argument("--transactions-per-day", type=int, default=2_000)
    parser.add_argument("--users", type=int, default=700)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="keep the data directories there, and go on from what they hold")
    parser.add_argument("--processes", type=int, default=1, help="worlds that run at the same time")
    arguments = parser.parse_args()

    console = Console(width=150)
    with (
        tempfile.TemporaryDirectory() as temporary,
        # A process for each world: Dagster and MLflow keep their addresses for as long as a process lives.
        ProcessPoolExecutor(arguments.processes, get_context("spawn"), max_tasks_per_child=1) as pool,
    ):
        root = (arguments.keep or Path(temporary)).resolve()
        first = datetime.now(UTC).date() - timedelta(days=arguments.days)
        configs = {
            world: SimulationConfig(
                first_day=first,
                days=arguments.days,
                users=arguments.users,
                transactions_per_day=arguments.transactions_per_day,
                seed=arguments.seed,
                world=world,
            )
            for world in arguments.worlds
        }
        running = {
            world: pool.submit(run_world, config, root / world, arguments.judged) for world, config in configs.items()
        }
        outcomes = {}
        for world, future in running.items():
            outcomes[world] = future.result()
            console.print(f"{world}: {outcomes[world].seconds:.0f} s")
    show(console, outcomes)


def run_world(config: SimulationConfig, folder: Path, judged_days: int) -> Outcome:
    """Simulate and run a world in this process, and judge it."""
    started = time.perf_counter()
    os.environ.update(FRAUD_DATA_DIR=str(folder), DAGSTER_HOME=str(folder / "dagster"))
    settings = Settings(data_dir=folder)
    config, truth = _run(settings, config)
    last = config.last_day
    return _judge(settings, truth, last - timedelta(days=judged_days - 1), last, started)


def _run(settings: Settings, config: SimulationConfig) -> tuple[SimulationConfig, pl.DataFrame]:
    """Run what has not been run yet; the configuration that was begun with, and the truth."""
    from fraud_pipelines.bootstrap import prepare
    from fraud_pipelines.cli.daily_runs import DailyRuns
    from fraud_pipelines.cli.simulation import SimulatedAnswers
    from fraud_pipelines.transactions.simulator import simulate_days, write_landing

    begun = settings.data_dir / "world.json"
    if begun.exists():
        config = SimulationConfig.model_validate_json(begun.read_text())
    settings.note_first_day(config.first_day)
    prepare(settings)
    begun.write_text(config.model_dump_json())
    simulated = {config.first_day + timedelta(days=n): day for n, day in enumerate(simulate_days(config))}
    truth = pl.concat(day.truth for day in simulated.values())
    answers = SimulatedAnswers(settings, truth)
    with DailyRuns(settings, command="benchmark", tell=print) as runs:
        for day, of_day in simulated.items():
            if not runs.is_done(day):
                write_landing(of_day, settings.landing_transactions)
                answers.drop_labels(day)
                if failure := runs.run(day).failure:
                    raise SystemExit(f"{config.world}, {day}: {failure}")
    return config, truth


def _judge(settings: Settings, truth: pl.DataFrame, first: date, last: date, started: float) -> Outcome:
    from fraud_pipelines.decisions.configuration import policy_in_force

    policy = policy_in_force(settings)
    warehouse = Warehouse(settings.warehouse_path)
    known = truth.select("transaction_id", "event_date", "amount", "is_fraud")
    decided = warehouse.read(
        "SELECT transaction_id, decision, score AS decisions FROM scoring.decisions WHERE channel = 'batch'"
    ).join(known, on="transaction_id")
    ranked = decided.with_columns(pl.col("amount").alias(AMOUNT))
    judged = ranked.filter(pl.col("event_date").is_between(first, last))
    for name, scores in (
        (FOREST, _forest(settings, first, last)),
        (ALL_LABELS, _all_labels(settings, known, first, last)),
    ):
        judged = judged.join(scores.rename({"raw_score": name}), on="transaction_id", maintain_order="left")
    rankings = {name: _figures(judged, name, policy) for name in RANKINGS}
    alerts = judged.filter(pl.col("decision") != "approve")
    blocks = judged.filter(decision="block")
    days = judged["event_date"].n_unique()
    cost = policy.review_cost * alerts.height + policy.loss_share * _amount_missed(
        judged, pl.col("decision") == "approve"
    )
    decisions = rankings[DECISIONS]
    rankings[DECISIONS] = Figures(decisions.average_precision, decisions.recall, cost / days)
    since = warehouse.read("SELECT min(known_at)::DATE FROM feedback.labels").item()
    deciders = dict(
        warehouse.read(
            "SELECT as_of, deciding_model FROM monitoring.model_promotions "
            "WHERE deciding_model IS NOT NULL ORDER BY as_of"
        ).iter_rows()
    )
    right, by_day = _right(warehouse, judged), {name: _by_day(ranked, name) for name in (DECISIONS, AMOUNT)}
    return Outcome(
        rankings=rankings,
        alerts_a_day=alerts.height / days,
        blocks_right=blocks.filter("is_fraud").height / blocks.height if blocks.height else None,
        decides=str(deciders[last]),
        right_after=_lasting(since, {day: model in right for day, model in deciders.items() if day >= since}),
        ahead_after=_lasting(since, _ahead(by_day[DECISIONS], by_day[AMOUNT], since)),
        seconds=time.perf_counter() - started,
    )


def _forest(settings: Settings, first: date, last: date) -> pl.DataFrame:
    """``transaction_id`` and ``raw_score`` by the forest of the first days."""
    from fraud_pipelines.features.frames import read_features

    warehouse, begin = Warehouse(settings.warehouse_path), settings.first_partition
    training = read_features(warehouse, begin, begin + timedelta(days=FOREST_DAYS - 1))
    schema, _ = default_schema(training)
    model = FraudModel.fit(training, backend="isolation_forest", schema=schema)
    features = read_features(warehouse, first, last)
    return features.select("transaction_id").hstack(model.score(features).select("raw_score"))


def _all_labels(settings: Settings, truth: pl.DataFrame, first: date, last: date) -> pl.DataFrame:
    """``transaction_id`` and ``raw_score`` by boosting that knows the truth of all days before."""
    from fraud_pipelines.features.frames import read_features

    warehouse = Warehouse(settings.warehouse_path)
    rows = read_features(warehouse, settings.first_partition, last).join(
        truth.select("transaction_id", pl.col("is_fraud").alias(LABEL)), on="transaction_id", maintain_order="left"
    )
    declared = parse_schema({name: each.role for name, each in plan_in_force(settings).supervised_schema.items()})
    found = []
    for day in _days(first, last):
        past, today = rows.filter(pl.col("event_date") < day), rows.filter(pl.col("event_date") == day)
        schema = supervised_schema(declared, past)
        model = fit_supervised(past, today, schema=schema)
        found.append(today.select("transaction_id").hstack(model.score(today).select("raw_score")))
    return pl.concat(found)


def _figures(judged: pl.DataFrame, ranking: str, policy: Policy) -> Figures:
    budget = (policy.alerts_per_day(1.0) * pl.len()).round()
    alerted = (
        judged.sort(ranking, "transaction_id", descending=[True, False])
        .with_columns(alert=pl.int_range(pl.len()).over("event_date") < budget.over("event_date"))
        .sort("transaction_id")
    )
    frauds = alerted.filter("is_fraud")
    cost = policy.review_cost * alerted.filter("alert").height + policy.loss_share * _amount_missed(
        alerted, ~pl.col("alert")
    )
    return Figures(
        average_precision=fmean(_by_day(judged, ranking).values()),
        recall=frauds.filter("alert").height / frauds.height,
        cost=cost / judged["event_date"].n_unique(),
    )


def _amount_missed(rows: pl.DataFrame, approved: pl.Expr) -> float:
    return float(rows.filter(approved & pl.col("is_fraud"))["amount"].sum())


def _by_day(rows: pl.DataFrame, ranking: str) -> dict[date, float]:
    """Average precision of each day that has a fraud."""
    found = {}
    for (day,), of_day in rows.sort("event_date").group_by("event_date", maintain_order=True):
        if of_day["is_fraud"].any():
            assert isinstance(day, date)
            found[day] = float(average_precision_score(of_day["is_fraud"].to_numpy(), of_day[ranking].to_numpy()))
    return found


def _right(warehouse: Warehouse, judged: pl.DataFrame) -> set[str]:
    """The models whose average precision on the judged days is within `AS_GOOD` of the best."""
    scores = warehouse.read(
        "SELECT transaction_id, model_name, raw_score FROM scoring.transaction_scores WHERE channel = 'batch'"
    ).join(judged.select("transaction_id", "event_date", "is_fraud"), on="transaction_id")
    precision = {
        str(name): fmean(_by_day(of_model, "raw_score").values()) for (name,), of_model in scores.group_by("model_name")
    }
    return {name for name, value in precision.items() if value >= max(precision.values()) - AS_GOOD}


def _ahead(decided: Mapping[date, float], amount: Mapping[date, float], since: date) -> dict[date, bool]:
    """Whether in the week that begins on a day the mean is higher of what decided than of the amount."""
    found = {}
    last = max(decided)
    for first in _days(since, last - timedelta(days=WEEK - 1)):
        week = [day for day in _days(first, first + timedelta(days=WEEK - 1)) if day in decided]
        found[first] = fmean(decided[day] for day in week) > fmean(amount[day] for day in week)
    return found


def _lasting(since: date, holds: Mapping[date, bool]) -> int | None:
    """Days from ``since`` to the first from which on it holds."""
    lasting = None
    for day in sorted(holds, reverse=True):
        if not holds[day]:
            break
        lasting = (day - since).days
    return lasting


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def show(console: Console, outcomes: Mapping[str, Outcome]) -> None:
    """How each ranking did, and how what decides came about."""
    for title, figure, form in (
        ("Average precision", "average_precision", ".3f"),
        ("Recall at the budget", "recall", ".3f"),
        ("Cost a day", "cost", ",.0f"),
    ):
        table = _table(title, "world", *RANKINGS)
        for world, outcome in outcomes.items():
            table.add_row(world, *(format(getattr(outcome.rankings[name], figure), form) for name in RANKINGS))
        console.print(table)
    table = _table("What decides", "world", "at the end", "right after", "ahead after", "alerts a day", "blocks right")
    for world, outcome in outcomes.items():
        table.add_row(
            world,
            outcome.decides,
            *("never" if days is None else f"{days} days" for days in (outcome.right_after, outcome.ahead_after)),
            f"{outcome.alerts_a_day:.1f}",
            "–" if outcome.blocks_right is None else f"{outcome.blocks_right:.3f}",
        )
    console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in {"world", "at the end"} else "right", no_wrap=True)
    return table


if __name__ == "__main__":
    main()
