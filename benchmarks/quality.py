"""Quality of the detection on the Fraud Detection Handbook's payments, by the handbook's protocol or day by day.

    FRAUD_REFERENCE_DATA=folder python benchmarks/quality.py
    FRAUD_REFERENCE_DATA=folder python benchmarks/quality.py --protocols handbook daily
    FRAUD_REFERENCE_DATA=folder python benchmarks/quality.py --label-features delayed known --labels book own

The first takes three minutes on two cores, ``daily`` four more. The folder holds 2018-04.parquet to 2018-06.parquet
(docs/mappings.md says how to get them). They are landed through the mapping that ships, so that a fraud's label is
known 7 days after it. Two protocols judge the same transactions, over all disjoint test weeks before which every
feedback feature has had its full span:

- handbook: a model learns from 7 days, the next 7 are left out (the labels' delay), the 7 after them are the test.
  A supervised model is also shown as the pipeline trains it, on the 28 days that end where those 7 end; of the first
  test weeks these reach into days whose label features lack a part of their span. The detectors of groups are given
  the frauds that are known of these 28 days, as in the pipeline, and learn from the last 7.
- daily: as in the pipeline, each test day is scored by a model that learned from the 7 days right before it. These
  are seven models a week, so one seed is enough; the handbook's figures are means over three.

A card known to be compromised is not tested: those of the handbook's training week, and for each test day also those
of the days up to delay + 1 days before it. Recall, of all frauds and by scenario, is that of the 1 % of a test week's
transactions that rank highest.

The last compares ways to compute label features (benchmarks/label_features.py), by the detectors that read them alone:
with every label known after 7 days as in the book, and with each known by its own delay. Only what the features know
differs: all are trained and tested on the same transactions, and by the same truth.

What the figures should reach is in `GOALS`. For scale, the handbook's own on its own weeks (ROC AUC / AP / CP@100):
isolation forest .808 / .164 / .190, autoencoder .836 / .180 / .217, tuned XGBoost .869 / .687 / .303.
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Final

import polars as pl
from handbook import DELAY, PROTOCOLS, WEEK, Score, read_payments, test_weeks, without_known_cards
from label_features import ARMS, LABELS, RECENCY, with_arm
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fraud_pipelines.detection.backends import BACKENDS, backend_by_name
from fraud_pipelines.detection.default_schema import DEFAULT_SCHEMA, default_schema, grouped_schema
from fraud_pipelines.detection.groups import Grouping
from fraud_pipelines.detection.known_frauds import EVIDENCE_DAYS
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import FEEDBACK_SCHEMA, FeatureRole, SchemaLike
from fraud_pipelines.detection.supervised import TRAINING_DAYS, fit_supervised, supervised_schema
from fraud_pipelines.errors import FraudPipelinesError
from fraud_pipelines.evaluation.metrics import performance
from fraud_pipelines.evaluation.ranked import ranking
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.roles import LABELS_GROUP

ALERT_SHARE: Final = 0.01
SCENARIOS: Final = {1: "amount", 2: "terminal", 3: "card"}
"""tx_fraud_scenario: an amount above 220; a compromised terminal, amounts as usual; a stolen card, amounts × 5."""

ROLLING_AND_TIME: Final[SchemaLike] = {
    f"amount_rolling_{statistic}_{window}": FeatureRole(role="numeric")
    for statistic in ("mean", "std", "min", "max")
    for window in (3, 5, 10, 50)
} | {
    "hour_of_day": FeatureRole(role="numeric"),
    "day_of_week": FeatureRole(role="numeric"),
    "is_weekend": FeatureRole(role="binary"),
    "is_night": FeatureRole(role="binary"),
}

ROLLING: Final = "rolling and time"
LABEL_FREE: Final = "label-free"
FEEDBACK: Final = "with feedback"
GROUPS: Final = "label-free, in groups"
GROUPS_FEEDBACK: Final = "feedback, in groups"
"""As the daily models have it: each group of features by itself, weighted by the frauds known of four weeks. The lines
without groups judge all together."""
EVERYTHING: Final = "every number, and scores"

SUPERVISED: Final = "supervised"
AS_IN_THE_PIPELINE: Final = f"supervised, {TRAINING_DAYS} days"

GOALS: Final = (
    ("isolation_forest", GROUPS, "AP", 0.29),
    ("suod", GROUPS_FEEDBACK, "AP", 0.55),
    ("suod", GROUPS_FEEDBACK, "CP@100", 0.29),
    (SUPERVISED, EVERYTHING, "AP", 0.745),
    (AS_IN_THE_PIPELINE, EVERYTHING, "AP", 0.745),
)
"""For the handbook's protocol, mean of weeks and seeds; and the ensemble at least equal to the isolation forest."""

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Contender:
    """A line of the table: a way to score, and the features it is given."""

    name: str
    features: str
    score: Callable[[int], Score]
    """The scoring of one seed."""
    protocols: tuple[str, ...] = tuple(PROTOCOLS)
    span: timedelta = WEEK
    """How much it is trained on."""


def main() -> None:
    """Read the data, and print the tables of each protocol."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    folder = os.environ.get("FRAUD_REFERENCE_DATA")
    parser.add_argument("--data", type=Path, default=folder, required=not folder, help="folder of the Parquet files")
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=["handbook"])
    parser.add_argument("--members", nargs="+", default=[], help="further ensembles, such as isolation_forest,pca")
    parser.add_argument("--label-features", nargs="+", choices=ARMS, default=[], help="ways to compute them to compare")
    parser.add_argument(
        "--labels", nargs="+", choices=LABELS, default=["book"], help="when labels are known, for these"
    )
    parser.add_argument("--each-week", action="store_true", help="every figure of every week, not AP and CP@100 alone")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="daily takes the first alone")
    arguments = parser.parse_args()

    lines = contenders([tuple(mix.split(",")) for mix in arguments.members])
    console = Console(width=max(Console().width, 105 + max(len(line.name) for line in lines)))
    payments = read_payments(arguments.data)
    weeks = test_weeks(payments.features)
    compared = list(itertools.product(arguments.labels, arguments.label_features))
    if compared:
        lines = [line for line in lines if line.features in (FEEDBACK, GROUPS_FEEDBACK, EVERYTHING)]
    for protocol in arguments.protocols:
        seeds = arguments.seeds if protocol == "handbook" else arguments.seeds[:1]
        shown = partial(show, console, weeks=weeks, lines=lines, protocol=protocol, seeds=seeds)
        if not compared:
            shown(payments.features, each_week=arguments.each_week)
        for labels, arm in compared:
            features = with_arm(payments.features, payments.transactions, payments.labels, arm, labels)
            console.rule(f"label features: {arm}; labels: {labels}")
            shown(features, each_week=arguments.each_week, goals=False)


def show(
    console: Console,
    features: pl.DataFrame,
    weeks: Sequence[date],
    lines: Iterable[Contender],
    protocol: str,
    *,
    seeds: Sequence[int],
    each_week: bool,
    goals: bool = True,
) -> None:
    """Evaluate all contenders by one protocol, and print its tables."""
    started = time.perf_counter()
    tests = {week: without_known_cards(features, week) for week in weeks}
    found: dict[Contender, list[list[Figures]]] = {}
    for line in lines:
        if protocol not in line.protocols:
            continue
        try:
            found[line] = [
                [
                    evaluate(test, PROTOCOLS[protocol](features, test, week, line.score(seed), line.span))
                    for week, test in tests.items()
                ]
                for seed in seeds
            ]
        except FraudPipelinesError as error:
            console.print(f"{line.name}, {line.features}: left out. {error}", markup=False)
    by_line = {line: [mean(week) for week in zip(*by_seed, strict=True)] for line, by_seed in found.items()}
    title = f"Protocol {protocol}, {len(weeks)} test weeks, seeds {', '.join(map(str, seeds))}"
    if each_week:
        for number, week in enumerate(weeks):
            console.print(table({line: of[number] for line, of in by_line.items()}, f"{title}: from {week}"))
    console.print(table({line: mean(of) for line, of in by_line.items()}, f"{title}: mean"))
    console.print(table_by_week(by_line, weeks))
    if goals and protocol == "handbook":
        show_goals(console, {(line.name, line.features): [mean(of) for of in by] for line, by in found.items()})
    console.print(f"{time.perf_counter() - started:.0f} s\n")


def contenders(mixes: Iterable[Sequence[str]]) -> list[Contender]:
    """No model, a model of features that don't help, every backend, and further ensembles."""
    lines = [
        Contender("no model", "amount alone", lambda _seed: _score_by_amount),
        Contender("isolation_forest", ROLLING, partial(_scored_by_model, "isolation_forest", {}, ROLLING)),
    ]
    models: list[tuple[str, str, Mapping[str, object]]] = [(backend, backend, {}) for backend in BACKENDS]
    models += [(f"suod: {', '.join(mix)}", "suod", {"members": tuple(mix)}) for mix in mixes]
    for features in (LABEL_FREE, GROUPS, FEEDBACK, GROUPS_FEEDBACK):
        lines += [
            Contender(
                name,
                features,
                partial(_scored_by_model, backend, parameters, features),
                span=timedelta(days=EVIDENCE_DAYS) if features == GROUPS_FEEDBACK else WEEK,
            )
            for name, backend, parameters in models
            if features in (LABEL_FREE, FEEDBACK) or backend_by_name(backend).reads_groups
        ]
    # Day by day it would be given labels of the day before, which nobody has.
    for name, span in ((SUPERVISED, WEEK), (AS_IN_THE_PIPELINE, timedelta(days=TRAINING_DAYS))):
        lines.append(
            Contender(name, EVERYTHING, lambda seed: partial(_scored_by_labels, seed), ("handbook",), span=span)
        )
    return lines


def _score_by_amount(_training: pl.DataFrame, test: pl.DataFrame) -> pl.DataFrame:
    return test.select(score="amount", raw_score="amount")


def _scored_by_labels(seed: int, training: pl.DataFrame, test: pl.DataFrame) -> pl.DataFrame:
    """By the supervised model: every number and flag, and the scores of other daily models of its last week."""
    last_week = _last_week(training)
    daily, left_out = _daily_schema(last_week)
    schema, groups = _in_groups(last_week, _known_frauds(training, test))
    features = [training, test]
    for backend in ("isolation_forest", "suod", "ecod"):
        detector = FraudModel.fit(
            last_week, backend=backend, schema=schema, contamination=ALERT_SHARE, seed=seed, groups=groups
        )
        scored = [detector.score(rows)["score"].alias(f"{backend}_score") for rows in (training, test)]
        features = [rows.with_columns(score) for rows, score in zip(features, scored, strict=True)]
    further = {
        name: FeatureRole(role=of.model.role)
        for name, of in shipped_plan().features.items()
        if of.model and name not in left_out
    }
    model = fit_supervised(
        features[0],
        features[0],
        schema=supervised_schema({**daily, **further}, features[0]),
        contamination=ALERT_SHARE,
        seed=seed,
    )
    return model.score(features[1]).select("score", "raw_score")


def _scored_by_model(backend: str, parameters: Mapping[str, object], features: str, seed: int) -> Score:
    def score(span: pl.DataFrame, test: pl.DataFrame) -> pl.DataFrame:
        training, known = _last_week(span), _known_frauds(span, test)
        daily, _ = _daily_schema(training)
        schemas: dict[str, SchemaLike] = {
            ROLLING: ROLLING_AND_TIME,
            LABEL_FREE: {
                name: role for name, role in daily.items() if name not in FEEDBACK_SCHEMA and name not in RECENCY
            },
            FEEDBACK: daily,
        }
        in_groups = _in_groups(training, known if features == GROUPS_FEEDBACK else None)
        model = FraudModel.fit(
            training,
            backend=backend,
            schema=in_groups[0] if features in (GROUPS, GROUPS_FEEDBACK) else schemas[features],
            contamination=ALERT_SHARE,
            parameters=parameters,
            seed=seed,
            groups=in_groups[1] if features in (GROUPS, GROUPS_FEEDBACK) else None,
        )
        return model.score(test).select("score", "raw_score")

    return score


def _in_groups(training: pl.DataFrame, known: pl.DataFrame | None) -> tuple[SchemaLike, Grouping]:
    """What the daily models use: groups of features, and with ``known`` frauds those from labels, and the frauds."""
    schema, _ = default_schema(training, {**grouped_schema(shipped_plan()), **RECENCY})
    chosen = {name: role for name, role in schema.items() if known is not None or role.group != LABELS_GROUP}
    primary = frozenset(role.group for role in DEFAULT_SCHEMA.values())
    return chosen, Grouping(primary, training.head(0) if known is None else known)


def _known_frauds(span: pl.DataFrame, test: pl.DataFrame) -> pl.DataFrame:
    """The frauds of ``span`` that are known when the test begins, of no more days than the daily models look at."""
    last = test.select(pl.col("event_date").min() - DELAY).item()
    known = pl.col("event_date").is_between(last - timedelta(days=EVIDENCE_DAYS), last, closed="left")
    return span.filter("is_fraud", known)


def _last_week(span: pl.DataFrame) -> pl.DataFrame:
    return span.filter(pl.col("event_date") > pl.col("event_date").max() - WEEK)


def _daily_schema(training: pl.DataFrame) -> tuple[dict[str, FeatureRole], dict[str, str]]:
    """What the daily models would use; of `RECENCY` what the features have."""
    return default_schema(training, {**DEFAULT_SCHEMA, **RECENCY})


def evaluate(test: pl.DataFrame, scores: pl.DataFrame) -> Figures:
    """The columns of the table for one test week, whose rows the scores are for."""
    outcomes = pl.concat([test, scores], how="horizontal")
    # Who shares the last rank is left out together, so that the alerts never exceed their share.
    ranks = pl.Series(ranking(outcomes)).rank("max", descending=True)
    outcomes = outcomes.with_columns(alert=ranks <= ALERT_SHARE * outcomes.height, labelled=pl.lit(True))
    found = performance(outcomes, review_cost=0.0, resamples=0)
    recall = dict(outcomes.filter("is_fraud").group_by("scenario").agg(pl.col("alert").mean()).iter_rows())
    card_precision, ceiling = _known(found.card_precision_at_k), _known(found.card_precision_ceiling)
    return {
        "AP": _known(found.average_precision),
        "ROC AUC": _known(found.roc_auc),
        "CP@100": card_precision,
        "ceiling": ceiling,
        "÷ ceiling": card_precision / ceiling,
        "recall": _known(found.recall),
        **{name: recall.get(scenario, float("nan")) for scenario, name in SCENARIOS.items()},
    }


def mean(weeks: Sequence[Figures]) -> Figures:
    """The mean of each figure over the weeks."""
    return {name: fmean(week[name] for week in weeks) for name in weeks[0]}


def table(lines: Mapping[Contender, Figures], title: str) -> Table:
    """A line for each contender, a column for each figure."""
    shown = _empty_table(title, next(iter(lines.values())))
    shown.caption = f"recall, by scenario too: of the {ALERT_SHARE:.0%} of a week's transactions that rank highest"
    for line, figures in lines.items():
        shown.add_row(line.name, line.features, *(f"{figure:.3f}" for figure in figures.values()))
    return shown


def table_by_week(results: Mapping[Contender, Sequence[Figures]], weeks: Iterable[date]) -> Table:
    """Average precision and card precision of each week."""
    shown = _empty_table("AP / CP@100 of the test week from", map(str, weeks))
    for line, figures in results.items():
        cells = [f"{week['AP']:.3f} / {week['CP@100']:.3f}" for week in figures]
        shown.add_row(line.name, line.features, *cells)
    return shown


def _empty_table(title: str, columns: Iterable[str]) -> Table:
    shown = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", caption_justify="left")
    for name in ("detector", "features"):
        shown.add_column(name, no_wrap=True)
    for name in columns:
        shown.add_column(name, justify="right", no_wrap=True)
    return shown


def show_goals(console: Console, means: Mapping[tuple[str, str], Sequence[Figures]]) -> None:
    """Which goals are met: those of `GOALS`, and that the ensemble is no worse than the forest within it.

    Args:
        means: for each detector and features the means over the weeks, one for each seed.
    """
    forest = {key[1]: mean(by_seed) for key, by_seed in means.items() if key[0] == "isolation_forest"}
    goals = [
        *(("goal", *goal) for goal in GOALS),
        *(
            ("isolation_forest", "suod", features, figure, forest[features][figure])
            for features in (GROUPS, GROUPS_FEEDBACK)
            for figure in ("AP", "CP@100")
        ),
    ]
    for against, name, features, figure, goal in goals:
        by_seed = [of[figure] for of in means[name, features]]
        reached = fmean(by_seed)
        console.print(
            f"{'met' if reached >= goal else 'missed':8}{name}, {features}: {figure} {reached:.3f} "
            f"({min(by_seed):.3f} to {max(by_seed):.3f} by seed), {against} {goal:.3f}",
            highlight=False,
        )


def _known(figure: float | None) -> float:
    return float("nan") if figure is None else figure


if __name__ == "__main__":
    main()
