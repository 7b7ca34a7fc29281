"""The decision engine: policy, thresholds and hard rules in force, applied alike to a frame and to one transaction."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

import polars as pl
from pydantic import BaseModel

from fraud_pipelines.decisions.audit_sample import Floats, draw_sample, risk_scores
from fraud_pipelines.decisions.hard_rules import NO_RULES, VERDICTS, HardRules, outranking
from fraud_pipelines.decisions.policies import AlertCut, Policy, Segment, Thresholds
from fraud_pipelines.decisions.stages import ALERT_CAP, check_scores, screen_level, stage_expressions, stages
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.plan import Plan


@dataclass(frozen=True)
class Decision:
    """What became of a transaction: the columns of `DecisionEngine.decide` for one row."""

    decision: str
    score: float
    reason: str
    review_threshold: float
    block_threshold: float


@dataclass(frozen=True)
class Version:
    """A policy, thresholds or rules as they were, by the SHA-256 of their content (canonical JSON)."""

    kind: str
    hash: str
    content: str


@dataclass(frozen=True)
class DecisionEngine:
    """Decides transactions by two scores, the thresholds of their segment and the hard rules.

    The models decide as `rules.decide` says, with the thresholds of the first of the policy's segments that fits
    the transaction, else those in force. Then the hard rules are asked, in the order of `HardRules`. A rule's
    decision keeps the score of the models.

    `decide` and `decide_one` give the same for the same transaction; the second takes microseconds.
    """

    policy: Policy
    thresholds: Thresholds
    rules: HardRules = NO_RULES
    plan: Plan = field(default_factory=shipped_plan, repr=False, compare=False)
    """What is declared: the words that a reviewer reads. It decides nothing."""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """What the segments and rules look at, beside the scores: ``event_date``, columns, features."""
        return tuple(dict.fromkeys((*self.policy.segment_columns, *self.rules.columns)))

    @cached_property
    def screen_level(self) -> float:
        """A screening score up to here is approved whatever the second stage would say, in every segment.

        It has a meaning where the policy is gated.
        """
        lowest = min((review for _, (review, _) in self._segments), default=self.thresholds.review_threshold)
        return screen_level(min(lowest, self.thresholds.review_threshold), self.policy)

    def decide(self, candidates: pl.DataFrame, *, unscored: str | None = None) -> pl.DataFrame:
        """Approve, review or block each transaction.

        Args:
            candidates: ``transaction_id``, ``screening_score`` in [0, 1], ``second_stage_score`` (that of the second
                stage) in [0, 1] or null, and `columns`.
            unscored: a reason; what has no screening score yet is then approved with score 0, for this reason,
                unless a rule applies. Without it, a missing screening score is an error.

        Returns:
            ``transaction_id``, ``decision``, ``score``, ``reason``, ``policy``, ``review_threshold``,
            ``block_threshold``, and of a day with an audit sample ``audited`` and ``audit_probability``; a row for
            each candidate, in the same order.

        Raises:
            InvalidInput: a column is missing, a score is missing, or a score lies outside [0, 1].
        """
        if lacking := [name for name in self.columns if name not in candidates.columns]:
            raise InvalidInput(
                f"The policy's segments and the hard rules look at {', '.join(lacking)}, which the transactions to "
                "decide lack."
            )
        check_scores(candidates, unscored_allowed=unscored is not None)
        review, block = self._threshold_expressions()
        by_models = stage_expressions(review, block, self.policy, unscored=unscored)
        capped = by_models.decision.ne("approve") & self._beyond_the_cap(by_models.score)
        decided = (
            candidates.with_columns(
                pl.when(capped).then(pl.lit("approve")).otherwise(by_models.decision).alias("_decision"),
                by_models.score.alias("score"),
                pl.when(capped).then(pl.lit(ALERT_CAP)).otherwise(by_models.reason).alias("_reason"),
                review.alias("review_threshold"),
                block.alias("block_threshold"),
                *(reason.alias(f"_{verdict}") for verdict, reason in self.rules.expressions().items()),
            )
            .with_columns(
                # The floor of a review rule is no floor where the models block.
                pl.when(pl.col("_decision") != "block").then(pl.col("_review")).alias("_review")
            )
            .select(
                "transaction_id",
                outranking(pl.col("_decision"), *(pl.col(f"_{verdict}").is_not_null() for verdict in VERDICTS)).alias(
                    "decision"
                ),
                "score",
                pl.coalesce("_block", "_approve", "_review", "_reason").alias("reason"),
                pl.lit(self.policy.name).alias("policy"),
                "review_threshold",
                "block_threshold",
            )
        )
        draw = self.thresholds.audit
        return draw.mark(decided, risk_scores(candidates, decided)) if draw else decided

    def decide_one(self, row: Mapping[str, object], *, unscored: str | None = None) -> Decision:
        """Decide a single transaction, given as a mapping with the columns that `decide` takes.

        Raises:
            InvalidInput: as `decide` does.
        """
        screening, second = row.get("screening_score"), row.get("second_stage_score")
        if not _usable(screening, optional=unscored is not None) or not _usable(second, optional=True):
            check_scores(pl.DataFrame([_scores(row)], schema=_SCORES), unscored_allowed=unscored is not None)
        try:
            review, block = self._thresholds_of(row)
            rule = self.rules.applying(row) if self.rules.rules else None
        except KeyError as error:
            raise InvalidInput(
                f"The policy's segments and the hard rules look at {error.args[0]}, which transaction "
                f"{row.get('transaction_id')!r} lacks."
            ) from error
        decision, score, reason = stages(
            cast("float | None", screening), cast("float | None", second), review, block, self.policy, unscored
        )
        if decision != "approve" and self._capped(score, str(row.get("transaction_id"))):
            decision, reason = "approve", ALERT_CAP
        if rule and not (rule[0] == "review" and decision == "block"):
            decision, reason = rule
        return Decision(decision, score, reason, review, block)

    def with_alerts_capped(self, candidates: pl.DataFrame, decided: pl.DataFrame, most: int) -> "DecisionEngine":
        """This engine for a day whose models alert no more than ``most``: those that score highest.

        What hard rules alert, whatever the models say, stays, and is counted first.

        Args:
            candidates: the whole day, as `decide` takes it.
            decided: what `decide` has made of it.
            most: alerts of the day.
        """
        alerts = decided.filter(pl.col("decision") != "approve")
        if alerts.height <= most:
            return self
        return self.with_alerts_cut(alerts, self.alerted_by_rules(candidates), most)

    def alerted_by_rules(self, candidates: pl.DataFrame) -> pl.Series:
        """The ids of those that hard rules alert, whatever the models say."""
        decided = self._cut_at(1.0, "").decide(candidates)
        return decided.filter(pl.col("decision") != "approve")["transaction_id"]

    def with_alerts_cut(self, alerts: pl.DataFrame, by_rules: pl.Series, most: int) -> "DecisionEngine":
        """See `with_alerts_capped`.

        Args:
            alerts: ``transaction_id`` and ``score`` of all that `decide` alerts.
            by_rules: those of them that `alerted_by_rules` gives.
            most: alerts of the day.
        """
        by_models = alerts.filter(~pl.col("transaction_id").is_in(by_rules.implode()))
        room = max(most - by_rules.len(), 0)
        if alerts.height <= most or by_models.height <= room:
            return self
        ranked = by_models.sort("score", "transaction_id", descending=[True, False])
        return self._cut_at(*(ranked.select("score", "transaction_id").row(room - 1) if room else (1.0, "")))

    def with_audit_drawn(self, candidates: pl.DataFrame, decided: pl.DataFrame, *, model: str) -> "DecisionEngine":
        """This engine for a day of which the policy's audit sample is drawn.

        Args:
            candidates: the whole day, as `decide` takes it, with `AUDIT_SCORE`.
            decided: what `decide` has made of it.
            model: whose score `AUDIT_SCORE` is; empty where it is absent.
        """
        approved = risk_scores(candidates, decided)[(decided["decision"] == "approve").to_numpy()]
        return self.with_audit_drawn_of(approved, model=model)

    def with_audit_drawn_of(self, approved: Floats, *, model: str) -> "DecisionEngine":
        """`with_audit_drawn`, of the scores that tell the risk of what is approved, shape (n,), in any order."""
        draw = draw_sample(approved, self.policy.audit_per_day, seed=self.policy.audit_seed, model=model)
        return replace(self, thresholds=self.thresholds.model_copy(update={"audit": draw}))

    def is_beyond_the_cap(self, alerts: pl.DataFrame) -> pl.Series:
        """Which of ``alerts`` the models don't raise any more, since the day has too many."""
        return alerts.select(self._beyond_the_cap(pl.col("score")).alias("")).to_series()

    def _cut_at(self, score: float, transaction_id: str) -> "DecisionEngine":
        cut = AlertCut(score=score, transaction_id=transaction_id)
        return replace(self, thresholds=self.thresholds.model_copy(update={"alert_cut": cut}))

    def _beyond_the_cap(self, score: pl.Expr) -> pl.Expr:
        cut = self.thresholds.alert_cut
        if cut is None:
            return pl.lit(value=False)
        return beyond_cut(score, pl.lit(cut.score), pl.lit(cut.transaction_id))

    def _capped(self, score: float, transaction_id: str) -> bool:
        cut = self.thresholds.alert_cut
        return cut is not None and (score < cut.score or (score == cut.score and transaction_id > cut.transaction_id))

    @cached_property
    def versions(self) -> tuple[Version, Version, Version]:
        """Policy, thresholds and rules as they go into ``scoring.policy_versions``.

        The evidence of the thresholds is left out: it stands in ``monitoring.decision_thresholds``.
        """
        return (
            version_of("policy", self.policy),
            version_of("thresholds", self.thresholds.model_copy(update={"evidence": {}})),
            version_of("rules", self.rules),
        )

    @cached_property
    def _segments(self) -> tuple[tuple[Segment, tuple[float, float]], ...]:
        in_force = self.thresholds.review_threshold, self.thresholds.block_threshold
        return tuple((segment, segment.thresholds(*in_force)) for segment in self.policy.segments)

    def _threshold_expressions(self) -> tuple[pl.Expr, pl.Expr]:
        review, block = pl.lit(self.thresholds.review_threshold), pl.lit(self.thresholds.block_threshold)
        for segment, (its_review, its_block) in reversed(self._segments):
            fits = pl.all_horizontal(
                pl.col(column).is_in(list(values)).fill_null(value=False) for column, values in segment.selectors
            )
            review = pl.when(fits).then(pl.lit(its_review)).otherwise(review)
            block = pl.when(fits).then(pl.lit(its_block)).otherwise(block)
        return review, block

    def _thresholds_of(self, row: Mapping[str, object]) -> tuple[float, float]:
        for segment, thresholds in self._segments:
            if all(row[column] in values for column, values in segment.selectors):
                return thresholds
        return self.thresholds.review_threshold, self.thresholds.block_threshold


def beyond_cut(score: pl.Expr, last_score: pl.Expr, last_id: pl.Expr) -> pl.Expr:
    """Whether a payment ranks behind the last of a day's that a model still alerts."""
    return (score < last_score) | ((score == last_score) & (pl.col("transaction_id") > last_id))


_SCORES = {"transaction_id": pl.String, "screening_score": pl.Float64, "second_stage_score": pl.Float64}


def _scores(row: Mapping[str, object]) -> dict[str, object]:
    return {name: row.get(name) for name in _SCORES}


def _usable(score: object, *, optional: bool) -> bool:
    return optional if score is None else 0 <= cast("float", score) <= 1


def version_of(kind: str, model: BaseModel) -> Version:
    """A policy, thresholds, rules or a rule by their content."""
    content = json.dumps(model.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return Version(kind, hashlib.sha256(content.encode()).hexdigest(), content)
