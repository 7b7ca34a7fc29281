"""What tuning is worth: thresholds tuned every evening against thresholds that stay, judged by the truth.

    python benchmarks/tuning.py
    FRAUD_REFERENCE_DATA=folder python benchmarks/tuning.py
    python benchmarks/tuning.py --seeds 7 8 9 --keep folder

The first simulates 60 days, which takes two minutes on two cores; with the Fraud Detection Handbook's payments
(docs/mappings.md says how to get them) April to June follow, in some ten minutes. Every day is scored once, as the
daily run does; then each objective decides and tunes its way through the scores (`evaluation.backtest`):

- Labels are late and partial. What was alerted is reviewed and known a day later; a fraud that was let through is
  charged back with a probability of 0.7, a week later at the earliest and two on average. So the labels of a run
  depend on its own decisions, as they would have.
- Tuning sees these labels alone. The figures in the tables are by the truth, which it never sees: cost is that of
  every alert and of the whole amount of every fraud that was let through, over all days, the first ones included.
- "static" leaves the thresholds as the policy starts them. "hindsight" is the one constant threshold that would have
  cost least by the truth among those whose average lies within the bounds on alerts: a single threshold can't do
  much better on these scores, whatever tunes it.

A day is outside the bounds if its alerts are not within those that the thresholds in force name in their evidence. The
budget is the policy's expected share of the traffic.
"""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scored_days import ScoredDays, handbook, score_days

from fraud_pipelines.decisions.policies import OBJECTIVES, Objective, Policy, policy_named
from fraud_pipelines.decisions.stages import alert_level
from fraud_pipelines.evaluation.backtest import DayOfBacktest, backtest, chargebacks_of, outcomes_of
from fraud_pipelines.evaluation.lateness import ReportingDelay
from fraud_pipelines.transactions.schema import LABEL_COLUMNS
from fraud_pipelines.transactions.simulator import SimulationConfig, labels_known_on, simulate

STATIC: Final = "static"
DAYS: Final = 60
FIRST_DAY: Final = date(2026, 1, 1)


@dataclass(frozen=True)
class Result:
    """How a run did by the truth; cost in currency units, over all days."""

    cost: float
    alerts: int
    days: int
    frauds: int
    caught: int
    of_budget: float
    weeks: tuple[float, float]
    outside: int

    @property
    def f1(self) -> float:
        return 2 * self.caught / (self.alerts + self.frauds)


def main() -> None:
    """Run the studies, and print their tables and goals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    folder = os.environ.get("FRAUD_REFERENCE_DATA")
    parser.add_argument("--data", type=Path, default=folder, help="folder of the handbook's Parquet files")
    parser.add_argument("--seeds", type=int, nargs="*", default=[7], help="of the simulations; none to leave them out")
    parser.add_argument("--policy", default="balanced")
    parser.add_argument("--keep", type=Path, help="folder in which scored days are kept and looked for")
    arguments = parser.parse_args()
    console = Console(width=max(Console().width, 130))
    policy = policy_named(arguments.policy)
    for seed in arguments.seeds:
        show(console, simulated_days(seed, policy, arguments.keep), policy)
    if arguments.data:
        show(console, handbook_days(arguments.data, policy, arguments.keep), policy)


def simulated_days(seed: int, policy: Policy, keep: Path | None) -> ScoredDays:
    """Sixty simulated days, scored."""
    name = f"simulated-{seed}-{policy.name}"
    if kept := ScoredDays.read(keep, name):
        return kept
    payments = simulate(SimulationConfig(first_day=FIRST_DAY, days=DAYS, seed=seed))
    return score_days(name, payments, policy, track=track).kept_in(keep)


def handbook_days(folder: Path, policy: Policy, keep: Path | None) -> ScoredDays:
    """The handbook's April to June, scored."""
    name = f"handbook-{policy.name}"
    if kept := ScoredDays.read(keep, name):
        return kept
    return score_days(name, handbook(folder), policy, track=track).kept_in(keep)


def show(console: Console, scored: ScoredDays, policy: Policy) -> None:
    """Run every objective through the scored days, and print the table, the goals and the estimates."""
    started = time.perf_counter()
    runs = {STATIC: run(scored, policy, None)} | {each: run(scored, policy, each) for each in OBJECTIVES}
    results = {name: judge(days, scored, policy) for name, days in runs.items()}
    results["hindsight"] = hindsight(scored, policy)
    frauds = scored.truth["is_fraud"]
    console.print(
        table(
            results,
            f"{scored.name}: {len(scored.days)} days, {scored.truth.height:,} payments, {frauds.sum():,} frauds "
            f"({frauds.sum() / frauds.len():.2%}), policy {policy.name}",
        )
    )
    show_goals(console, results)
    console.print(bias_table(runs[STATIC], scored))
    console.print(f"{time.perf_counter() - started:.0f} s for the objectives\n")


def run(scored: ScoredDays, policy: Policy, objective: Objective | None) -> list[DayOfBacktest]:
    """The days of one objective, with labels that answer its own decisions."""
    scores = scored.scores.join(scored.truth.select("transaction_id", "amount"), on="transaction_id")
    return backtest(
        scores, lambda day, decided: labels_known_on(day, scored.truth, decided), policy, objective=objective
    )


def judge(days: Sequence[DayOfBacktest], scored: ScoredDays, policy: Policy) -> Result:
    """The figures of a run by the truth."""
    decided = pl.concat([each.decisions.select("transaction_id", "event_date", "decision") for each in days])
    alert = pl.col("decision") != "approve"
    truth = scored.truth.select("transaction_id", "amount", "is_fraud")
    by_day = daily_figures(decided.join(truth, on="transaction_id").with_columns(alert=alert), policy)
    # What is proposed on a day bounds the next one.
    bounds = [each.proposal.alerts_per_day_bounds for each in days[:-1] if each.proposal]
    alerts = by_day["alerts"].to_list()[1:]
    outside = sum(not low <= count <= high for (low, high), count in zip(bounds, alerts, strict=False))
    return result(by_day, outside=outside)


def daily_figures(decided: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """A row a day: ``alerts``, ``frauds``, ``caught``, ``cost`` and the ``budget``, by the truth."""
    missed = pl.col("amount").filter(pl.col("is_fraud") & ~pl.col("alert")).sum()
    return (
        decided.group_by("event_date")
        .agg(
            alerts=pl.col("alert").sum(),
            frauds=pl.col("is_fraud").sum(),
            caught=(pl.col("alert") & pl.col("is_fraud")).sum(),
            cost=policy.review_cost * pl.col("alert").sum() + policy.loss_share * missed,
            transactions=pl.len(),
        )
        .sort("event_date")
        .with_columns(budget=policy.alerts_per_day(1.0) * pl.col("transactions"))
    )


def result(by_day: pl.DataFrame, *, outside: int = 0) -> Result:
    """The sums of daily figures, and the alerts of whole weeks relative to the budget."""
    week = pl.int_range(by_day.height) // 7
    weeks = (
        by_day.group_by(week=week)
        .agg(pl.len(), share=pl.col("alerts").sum() / pl.col("budget").sum())
        .filter(pl.col("len") == 7, pl.col("week") > 0)["share"]
    )
    total = {name: float(value) for name, value in by_day.drop("event_date").sum().row(0, named=True).items()}
    return Result(
        cost=total["cost"],
        alerts=int(total["alerts"]),
        days=by_day.height,
        frauds=int(total["frauds"]),
        caught=int(total["caught"]),
        of_budget=total["alerts"] / total["budget"],
        weeks=(min(weeks.to_list()), max(weeks.to_list())),
        outside=outside,
    )


def hindsight(scored: ScoredDays, policy: Policy) -> Result:
    """The constant threshold that costs least by the truth, of those whose average alerts lie within the bounds."""
    truth = scored.truth.select("transaction_id", "amount", "is_fraud")
    rows = scored.scores.join(truth, on="transaction_id").with_columns(level=alert_level(policy))
    tried = [
        result(daily_figures(rows.with_columns(alert=pl.col("level") > hundredths / 100), policy))
        for hundredths in range(2, 81, 2)
    ]
    within = [each for each in tried if policy.min_alerts_factor <= each.of_budget <= policy.max_alerts_factor]
    return min(within, key=lambda each: each.cost)


def table(results: Mapping[str, Result], title: str) -> Table:
    """A line a run."""
    shown = Table(title=title, box=SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    shown.add_column("objective")
    for name in (
        "cost",
        "against static",
        "alerts a day",
        "of budget",
        "weeks",
        "outside",
        "precision",
        "recall",
        "F1",
    ):
        shown.add_column(name, justify="right", no_wrap=True)
    static = results[STATIC].cost
    for name, each in results.items():
        shown.add_row(
            name,
            f"{each.cost:,.0f}",
            f"{each.cost / static - 1:+.1%}",
            f"{each.alerts / each.days:.1f}",
            f"{each.of_budget:.0%}",
            f"{each.weeks[0]:.0%} to {each.weeks[1]:.0%}",
            str(each.outside) if name in OBJECTIVES else "–",
            f"{each.caught / each.alerts:.3f}",
            f"{each.caught / each.frauds:.3f}",
            f"{each.f1:.3f}",
        )
    return shown


def show_goals(console: Console, results: Mapping[str, Result]) -> None:
    """Which goals are met."""
    static, best = results[STATIC], results["hindsight"]
    saved = 1 - results["min_cost"].cost / static.cost
    budget = results["alert_budget"].of_budget
    f1 = results["max_f1"].f1
    outside = {name: each.outside for name, each in results.items() if name in OBJECTIVES}
    goals = (
        (
            saved >= 0.10,
            f"min_cost saves {saved:.1%} of static's cost, goal 10 % (hindsight {1 - best.cost / static.cost:.1%})",
        ),
        (abs(budget - 1) <= 0.15, f"alert_budget gives {budget:.1%} of the budget, goal 85 to 115 %"),
        (f1 >= static.f1 - 0.02, f"max_f1 reaches an F1 of {f1:.3f}, goal {static.f1 - 0.02:.3f} (static's − 0.02)"),
        (not any(outside.values()), f"days whose alerts leave the bounds in force: {sum(outside.values())}, goal 0"),
    )
    for met, text in goals:
        console.print(f"{'met' if met else 'missed':8}{text}", highlight=False)


def bias_table(days: Sequence[DayOfBacktest], scored: ScoredDays) -> Table:
    """What labels tell of the static thresholds three weeks before the end, as known then and by the truth."""
    labels = pl.DataFrame(schema=LABEL_COLUMNS)
    decided = pl.concat([each.decisions for each in days])
    for day in scored.days:
        before = decided.filter(pl.col("event_date") < day).select("transaction_id", "decision")
        labels = pl.concat([labels, labels_known_on(day, scored.truth, before)])
    last = scored.days[-1]
    window = decided.filter(pl.col("event_date").is_between(scored.days[-21], scored.days[-8]))
    known = outcomes_of(window, labels)
    true = window.join(scored.truth.select("transaction_id", "is_fraud"), on="transaction_id").with_columns(
        labelled=pl.lit(True)
    )
    shown = Table(
        title=f"The matured window as of {last}, static thresholds: what labels tell, and the truth",
        box=SIMPLE_HEAD,
        title_justify="left",
    )
    for name in ("", "precision", "recall", "frauds", "share of fraud"):
        shown.add_column(name, justify="right" if name else "left")
    reported = ReportingDelay(chargebacks_of(labels, scored.scores), last).reported_of(known).expected or 1.0
    for name, frame, share in (
        ("truth", true, 1.0),
        ("unlabelled past the delay = legitimate", known, 1.0),
        (f"the same, with {reported:.0%} of the chargebacks reported", known, reported),
        ("labelled rows only", known.filter("labelled"), 1.0),
    ):
        alert = frame["decision"] != "approve"
        caught = int((alert & frame["is_fraud"]).sum())
        frauds = round(caught + (int(frame["is_fraud"].sum()) - caught) / share)
        shown.add_row(
            name,
            f"{caught / int(alert.sum()):.3f}",
            f"{caught / frauds:.3f}",
            f"{frauds:,}",
            f"{frauds / frame.height:.2%}",
        )
    return shown


if __name__ == "__main__":
    main()
