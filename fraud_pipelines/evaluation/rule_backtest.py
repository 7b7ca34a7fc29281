"""Rules and policies tried on stored days: what they would have changed. Nothing is written.

Columns and features of a payment are those that were stored with it, as known at its time. A rule is asked whatever the
days it is dated for, since it is tried before it begins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from fraud_pipelines.decisions.decided_day import decide_candidates, read_candidates
from fraud_pipelines.decisions.engine import DecisionEngine, beyond_cut
from fraud_pipelines.decisions.entity_lists import is_by_list
from fraud_pipelines.decisions.hard_rules import RULE_REASON, VERDICTS, HardRule, HardRules, beside, outranking
from fraud_pipelines.evaluation.frauds_among import Range
from fraud_pipelines.evaluation.stored_days import Payments, StoredDays

EXAMPLES: Final = 10
"""Counter-examples shown of a rule."""


@dataclass(frozen=True)
class Effect:
    """What a rule, a file of rules or a policy would have done.

    Attributes:
        hits: payments that the condition holds for; of all rules together those that any holds for, of a policy its
            alerts.
        new_alerts: hits that were approved, and would have been reviewed or blocked.
        spared_alerts: payments that were reviewed or blocked, and would have been approved.
        new_blocks: payments that would have been blocked, and weren't.
        recall: the share of all frauds of the days that are among the hits.
        cost_change: currency units over all the days, by the costs of the policy in force: below zero it saves.
        alerts_per_day: with it; ``alerts_per_day_now`` without; ``alert_budget`` is what the policy aims at.
        overlap: other rule → hits of both.
        counter_examples: hits that aren't known as frauds: those that a label calls legitimate first, then those of the
            largest amounts.
    """

    name: str
    decision: str | None
    hits: Payments
    new_alerts: Payments
    spared_alerts: Payments
    new_blocks: int
    recall: Range | None
    cost_change: Range | None
    alerts_per_day: float
    alerts_per_day_now: float
    alert_budget: float
    overlap: Mapping[str, int]
    counter_examples: Sequence[Mapping[str, object]]


def backtest_rules(stored: StoredDays, rules: HardRules) -> tuple[list[Effect], Effect]:
    """What each rule would have done alone, beside whatever decided; and all of them in the place of the rules then.

    Together they decide in the order of `HardRules`, over what the models had decided. A cut on a day's alerts stays
    where it was.
    """
    rows = _asked(stored, rules)
    each = [
        _effect(stored, rows.with_columns(hit=pl.col(_hit(rule)), after=_alone(rule)), rule.name, rule.decision, rules)
        for rule in rules.rules
    ]
    together = rows.with_columns(
        hit=pl.any_horizontal(pl.lit(value=False), *map(_column, rules.rules)), after=_together(rules)
    )
    return each, _effect(stored, together, "all rules", None, HardRules())


def backtest_policy(stored: StoredDays, engines: Mapping[date, DecisionEngine]) -> Effect:
    """What a policy would have decided on the stored scores, a day's alerts capped as the daily run does.

    Args:
        engines: day → what decides it.
    """
    found = []
    for day in stored.by_day["event_date"]:
        engine = engines[day]
        candidates = read_candidates(stored.warehouse, engine, day)
        _, decided = decide_candidates(engine, candidates)
        found.append(decided.select("transaction_id", pl.col("decision").alias("after")))
    after = pl.concat(found)
    rows = (
        stored.decisions()
        .join(after, on="transaction_id", how="inner")
        .filter((pl.col("before") != "approve") | (pl.col("after") != "approve"))
        .with_columns(hit=pl.col("after") != "approve")
    )
    name = next(iter(engines.values())).policy.name
    return _effect(stored, rows, name, None, HardRules())


def shadow_effect(stored: StoredDays, kind: str, name: str) -> Effect:
    """What a rule or a policy that was in shadow on the days would have done, by what was recorded then.

    Of days on which it was asked of every payment it is what `backtest_rules` says of the rule, in the words that it
    had, and `backtest_policy` of the policy.

    Raises:
        MissingData: it was not in shadow on these days.
    """
    verdict, rows = stored.in_shadow(kind, name)
    hit = pl.lit(value=True) if kind == "rule" else pl.col("after") != "approve"
    return _effect(stored, rows.with_columns(hit=hit), name, verdict, HardRules())


def _asked(stored: StoredDays, rules: HardRules) -> pl.DataFrame:
    """Every payment that a rule holds for, or that a rule decided: its stored decision as ``before``, what the models
    had decided as ``by_models``, and a column for each rule."""
    columns = [name for name in rules.columns if name != "event_date"]
    hits = (
        stored.columns(columns)
        .select("transaction_id", *(rule.condition().alias(_hit(rule)) for rule in rules.rules))
        .filter(pl.any_horizontal(pl.lit(value=False), *map(_column, rules.rules)))
    )
    rows = stored.decisions(hits.select("transaction_id"))
    cuts = stored.alert_cuts()
    return (
        rows.join(hits, on="transaction_id", how="left", maintain_order="left")
        .join(cuts, on="event_date", how="left", maintain_order="left")
        .with_columns(*(_column(rule).fill_null(value=False) for rule in rules.rules), by_models=_by_models())
    )


def _by_models() -> pl.Expr:
    """What the models had decided: the decision, or where a rule or a list decided what their score says."""
    score = pl.col("score")
    beyond = beyond_cut(score, pl.col("cut_score"), pl.col("cut_transaction_id"))
    by_score = (
        pl.when(beyond.fill_null(value=False))
        .then(pl.lit("approve"))
        .when(score > pl.col("block_threshold"))
        .then(pl.lit("block"))
        .when(score > pl.col("review_threshold"))
        .then(pl.lit("review"))
        .otherwise(pl.lit("approve"))
    )
    reason = pl.col("reason")
    return pl.when(reason.str.starts_with(RULE_REASON)).then(by_score).otherwise(pl.col("before"))


def _alone(rule: HardRule) -> pl.Expr:
    """The decision with this rule beside whatever decided."""
    before = pl.col("before")
    return pl.when(_column(rule)).then(beside(rule, before, pl.col("reason"))).otherwise(before)


def _together(rules: HardRules) -> pl.Expr:
    """The decision with these rules alone, beside the lists that people keep: what a list decided holds as a rule of
    its kind."""
    kinds = (
        pl.any_horizontal(
            is_by_list(pl.col("reason"), verdict), *(_column(rule) for rule in rules.rules if rule.decision == verdict)
        )
        for verdict in VERDICTS
    )
    return outranking(pl.col("by_models"), *kinds)


def _effect(stored: StoredDays, rows: pl.DataFrame, name: str, decision: str | None, others: HardRules) -> Effect:
    """From ``rows``: whatever it hits or changes, with ``before``, ``after``, ``hit``."""
    before, after = pl.col("before"), pl.col("after")
    hits = rows.filter("hit")
    new = rows.filter(before == "approve", after != "approve")
    spared = rows.filter(before != "approve", after == "approve")
    overlap = {
        rule.name: int(hits[_hit(rule)].sum()) for rule in others.rules if rule.name != name and hits[_hit(rule)].any()
    }
    change = new.height - spared.height
    return Effect(
        name=name,
        decision=decision,
        hits=stored.described(hits),
        new_alerts=stored.described(new),
        spared_alerts=stored.described(spared),
        new_blocks=rows.filter(before != "block", after == "block").height,
        recall=stored.recall(hits),
        cost_change=stored.cost_change(new, spared, change),
        alerts_per_day=(stored.alerts + change) / stored.days,
        alerts_per_day_now=stored.alerts / stored.days,
        alert_budget=stored.policy.alerts_per_day(stored.payments / stored.days),
        overlap=overlap,
        counter_examples=_counter_examples(stored, hits),
    )


def _counter_examples(stored: StoredDays, hits: pl.DataFrame) -> list[dict[str, object]]:
    shown = hits.join(
        stored.labels.select("transaction_id", "is_fraud"), on="transaction_id", how="left", maintain_order="left"
    ).filter(pl.col("is_fraud").is_null() | ~pl.col("is_fraud"))
    ranked = shown.with_columns(judged=pl.col("is_fraud").is_not_null()).top_k(
        EXAMPLES, by=["judged", "amount", "transaction_id"], reverse=[False, False, True]
    )
    known = pl.when("judged").then(pl.lit("legitimate")).otherwise(pl.lit("no label")).alias("known")
    columns = ("transaction_id", pl.col("event_date").cast(pl.String), "user_id", "amount", "before", known)
    ordered = ranked.sort(["judged", "amount", "transaction_id"], descending=[True, True, False])
    return ordered.select(columns).rename({"before": "decision"}).to_dicts()


def _hit(rule: HardRule) -> str:
    return f"rule:{rule.name}"


def _column(rule: HardRule) -> pl.Expr:
    return pl.col(_hit(rule))
