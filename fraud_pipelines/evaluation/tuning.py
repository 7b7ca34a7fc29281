"""Threshold tuning: tomorrow's thresholds from what is known today, moved only as far as the guards allow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import JsonValue

from fraud_pipelines.decisions.policies import BLOCKS, BY_PROBABILITY, TUNED_FOR, Objective, Policy, Thresholds
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.evaluation.alert_levels import Decided, decided_of, levels_by_day, scored_days_of
from fraud_pipelines.evaluation.blocks import choose_block_threshold
from fraud_pipelines.evaluation.lateness import ALL_REPORTED, Reported
from fraud_pipelines.evaluation.sweep import Sweep, candidate_thresholds, sweep_thresholds
from fraud_pipelines.evaluation.windows import ScoredDay

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_SCORE_COLUMNS: Final = ("event_date", "score", "screening_score", "second_stage_score")
_OUTCOME_COLUMNS: Final = (*_SCORE_COLUMNS, "amount", "is_fraud", "labelled")


@dataclass(frozen=True)
class Proposal:
    """The thresholds for the day after, and the sweep they were chosen from.

    ``sweep`` has a row for each candidate threshold, ascending: ``threshold``, ``alerts_per_day``, ``precision``,
    ``recall``, ``f1``, ``cost`` (currency units a day); null where a figure is not defined.
    ``alert_budget`` is the alerts a day aimed at, and ``alerts_per_day_bounds`` are those that the day after should
    keep to.
    """

    thresholds: Thresholds
    sweep: pl.DataFrame
    alert_budget: float
    alerts_per_day_bounds: tuple[float, float]


def tune(
    outcomes: pl.DataFrame,
    daily_scores: pl.DataFrame,
    current: Thresholds,
    policy: Policy,
    *,
    day: date,
    objective: Objective | None = None,
    reported: Reported = ALL_REPORTED,
    decided: Mapping[str, JsonValue] | None = None,
) -> Proposal:
    """Propose the thresholds for the day after ``day``.

    Precision, recall and cost of a threshold come from the matured ``outcomes``, alerts a day from the latest
    ``daily_scores``. Each row is taken at its `alert_level`, so that a threshold below the screening threshold is
    judged with the screen that would go down with it; for a row that the ensemble hasn't seen this overestimates
    the alerts and never underestimates them. What a hard rule or a segment's own threshold decided stays as it is.

    What was let through is reported late, so that a plain count would make it look harmless: a fraud known by its
    chargeback alone stands for those still to come, as in `metrics.performance`.

    The objective picks the best candidate among those whose alerts a day lie between the policy's multiples of
    the budget, not only on average but, as far as their scatter tells, on the day to come. Then guards limit the
    step, each outranking the one before: the largest change a day; the alerts a day again, if the current
    threshold was itself out of bounds; and the block threshold, the policy's own at least, because tuning never
    approves what the policy blocks. If ties leave no threshold within the bounds on alerts, the lowest that stays
    under the upper bound is taken: the reviewers can't do more. With fewer labelled frauds than the policy asks for,
    and until half of the window's chargebacks are in, the objective is ``alert_budget``.

    Then the block threshold, by the policy's ``block_precision``: see `evaluation.blocks`. What the policy states as a
    probability isn't tuned, and neither is the contamination.

    Args:
        outcomes: as `matured_decisions` reads them, as of ``day``; without ``reason``, no rule or segment decided.
        daily_scores: as `recent_scores` reads them, up to ``day``.
        current: in force on ``day``; what the policy states as a probability as it is on the day after.
        objective: overrides the policy's.
        reported: how many of the window's chargebacks are in (see `evaluation.lateness`), for outcomes with ``late``.
        decided: how the decisions of the window did, for the evidence.

    Returns:
        The proposal. Its evidence tells the objective wanted and used, the window, the labels, the figures before
        and after, those of the decisions as they were, and which guards bit. Without any recent scores the thresholds
        stay.

    Raises:
        InvalidInput: a frame lacks a column.
    """
    _require(outcomes, _OUTCOME_COLUMNS, "outcomes")
    _require(daily_scores, _SCORE_COLUMNS, "daily_scores")
    return tune_levels(
        decided_of(outcomes, policy, reported),
        Decided.of_days(levels_by_day(daily_scores, policy)),
        current,
        policy,
        day=day,
        objective=objective,
        reported=reported,
        decided=decided,
        scored=scored_days_of(outcomes, policy, reported),
    )


def tune_levels(
    matured: Decided,
    recent: Decided,
    current: Thresholds,
    policy: Policy,
    *,
    day: date,
    scored: Sequence[ScoredDay] = (),
    objective: Objective | None = None,
    reported: Reported = ALL_REPORTED,
    decided: Mapping[str, JsonValue] | None = None,
) -> Proposal:
    """`tune` by alert levels: of the ``matured`` days, and of the ``recent`` ones, which need no frauds.

    Args:
        scored: the days at the scores of the model that decides, whatever rules and segments decided; without any the
            block threshold stays.
    """
    wanted = objective or policy.objective
    judges_frauds = wanted != "alert_budget"
    too_few = judges_frauds and matured.labelled_frauds < policy.min_labelled_frauds
    too_early = judges_frauds and not reported.half_in
    days = len(recent.days)
    stated = current.evidence.get(BY_PROBABILITY, [])
    assert isinstance(stated, list)
    aim = _Aim(
        objective="alert_budget" if too_few or too_early else wanted,
        policy=policy,
        budget=policy.alerts_per_day(recent.payments / days) if days else 0.0,
        before=current.review_threshold,
        # A block threshold that was tuned down makes way, or the reviewers would get more than they can do.
        block=current.block_threshold
        if "block_threshold" in stated
        else max(current.block_threshold, policy.block_threshold),
    )
    sweep = sweep_thresholds(
        candidate_thresholds(
            recent.levels,
            counts=[volume * days for volume in (aim.budget, *aim.alert_bounds)],
            thresholds=[aim.before, *aim.step_bounds, aim.block],
        ),
        matured,
        recent,
        told=reported.half_in,
        policy=policy,
    )
    guards: list[JsonValue] = ["min_labelled_frauds"] if too_few else []
    guards += ["chargebacks_to_come"] if too_early else []
    if "review_threshold" in stated:
        best = chosen = aim.before
        guards = ["review_probability"]
    elif days:
        best, chosen, limits = _choose(sweep, aim)
        guards += limits
    else:
        best = chosen = aim.before
        guards.append("no_recent_scores")
    block, blocks = current.block_threshold, None
    if scored and matured.days and policy.block_precision is not None and "block_threshold" not in stated:
        matured_to = max(matured.days)
        known = sum(len(each.frauds) for each in scored if each.day <= matured_to)
        unsure: list[JsonValue] = ["min_labelled_frauds"] if known < policy.min_labelled_frauds else []
        unsure += [] if reported.half_in else ["chargebacks_to_come"]
        choice = choose_block_threshold(
            scored, policy, as_of=day, matured_to=matured_to, current=block, review=chosen, guards=unsure
        )
        block, blocks = choice.threshold, choice.evidence
    evidence: dict[str, JsonValue] = {
        "objective": aim.objective,
        "objective_wanted": wanted,
        TUNED_FOR: policy.second_stage,
        "window_start": min(matured.days).isoformat() if matured.days else None,
        "window_end": max(matured.days).isoformat() if matured.days else None,
        "transactions": matured.payments,
        "labelled": matured.labelled,
        "labelled_frauds": matured.labelled_frauds,
        "chargebacks_reported": None if reported.expected is None else round(reported.expected, 3),
        "alert_budget": round(aim.budget, 3),
        "alerts_per_day_bounds": [round(bound, 3) for bound in aim.alert_bounds],
        "best_threshold": best,
        "guards": guards,
        "decided": dict(decided or {}),
        "before": sweep.figures(aim.before),
        "after": sweep.figures(chosen),
        **({BLOCKS: blocks} if blocks else {}),
        **({BY_PROBABILITY: stated} if stated else {}),
    }
    thresholds = Thresholds(
        effective_date=day + timedelta(days=1),
        policy=policy.name,
        review_threshold=chosen,
        block_threshold=max(block, chosen),
        contamination=policy.contamination,
        objective=aim.objective,
        evidence=evidence,
    )
    return Proposal(thresholds, sweep.frame(), aim.budget, aim.alert_bounds)


@dataclass(frozen=True)
class _Aim:
    """What the choice goes by; ``budget`` is alerts a day, ``before`` and ``block`` the thresholds in force."""

    objective: Objective
    policy: Policy
    budget: float
    before: float
    block: float

    @property
    def alert_bounds(self) -> tuple[float, float]:
        return self.policy.min_alerts_factor * self.budget, self.policy.max_alerts_factor * self.budget

    @property
    def step_bounds(self) -> tuple[float, float]:
        change = self.policy.max_daily_change
        # Rounded, since 0.6 - 0.05 is 0.5499999999999999.
        return round(max(0.0, self.before - change), 10), round(min(1.0, self.before + change), 10)


def _choose(sweep: Sweep, aim: _Aim) -> tuple[float, float, list[str]]:
    """The best threshold without guards, the one after all guards, and the names of those that bit."""
    guards = []
    fewest, most = aim.alert_bounds
    within = (sweep.alerts_per_day >= fewest) & (sweep.alerts_per_day <= most)
    if not within.any():
        guards.append("alerts_tied")
        within = sweep.threshold == sweep.threshold[sweep.alerts_per_day <= most].min()
    free = _best(sweep, aim, np.ones_like(within))
    target = _best(sweep, aim, _expected_within(sweep, aim, within))
    stepped = min(max(target, aim.step_bounds[0]), aim.step_bounds[1])
    clamped = float(np.clip(stepped, sweep.threshold[within].min(), sweep.threshold[within].max()))
    chosen = min(clamped, aim.block)
    if target != free or clamped != stepped:
        guards.append("alerts_per_day")
    if clamped == stepped != target:
        guards.append("max_daily_change")
    if chosen != clamped:
        guards.append("block_threshold")
    return free, chosen, guards


def _expected_within(sweep: Sweep, aim: _Aim, within: Mask) -> Mask:
    """Candidates within the bounds with which even a single day is expected to stay there, and those of the budget.

    The bounds are meant for each day, and an average at a bound would leave it every other day.
    """
    fewest, most = aim.alert_bounds
    mean, scatter = sweep.alerts_per_day, sweep.alerts_scatter
    distance = np.where(within, np.abs(mean - aim.budget), np.inf)
    expected = within & (np.maximum(mean - scatter, 0) >= fewest) & (mean + scatter <= most)
    allowed: Mask = expected | (distance == distance.min())
    return allowed


def _best(sweep: Sweep, aim: _Aim, allowed: Mask) -> float:
    """The allowed candidate that serves the objective best; of equals, the nearest to the current threshold."""
    policy = aim.policy
    match aim.objective:
        case "alert_budget":
            merit = -np.abs(sweep.alerts_per_day - aim.budget)
        case "max_f1":
            merit = sweep.f1
        case "min_cost":
            merit = -sweep.cost
        case "min_precision":
            # The most recall that still holds the precision, or else the most precision there is.
            merit = np.where(sweep.precision >= policy.target_precision, 1 + sweep.recall, sweep.precision)
        case "min_recall":
            # The fewest alerts that still hold the recall, or else the most recall there is.
            merit = np.where(sweep.recall >= policy.target_recall, 1 + sweep.threshold, sweep.recall)
    merit = np.where(allowed, np.nan_to_num(merit, nan=-np.inf), -np.inf)
    equals = sweep.threshold[allowed & (merit == merit.max())]
    return float(equals[np.argmin(np.abs(equals - aim.before))])


def _require(frame: pl.DataFrame, columns: tuple[str, ...], name: str) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InvalidInput(f"{name} lacks {', '.join(missing)}; read it with fraud_pipelines.evaluation.outcomes")
