"""A backtest as it is asked for in the shell or on the review page: which days, and the rules or the policy to try."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from fraud_pipelines.decisions.configuration import engine_of_day, policies, policy_in_force, rules_in_force
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hard_rules import HardRules
from fraud_pipelines.decisions.policies import Policy, Thresholds, policy_named
from fraud_pipelines.decisions.rule_promotions import rules_of_day
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.evaluation.rule_backtest import Effect, backtest_policy, backtest_rules
from fraud_pipelines.evaluation.stored_days import Payments, StoredDays
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse


@dataclass(frozen=True)
class Trial:
    """What is to be tried on the stored days from ``first`` to ``last``.

    Attributes:
        rules: those to try, the ones in shadow too; None for those in force.
        policy_name: a policy to try, with the rules.
        review, block: thresholds to try in the place of the policy's.
    """

    first: date
    last: date
    channel: str = "batch"
    rules: HardRules | None = None
    policy_name: str | None = None
    review: float | None = None
    block: float | None = None

    @property
    def is_of_policy(self) -> bool:
        return self.policy_name is not None or self.review is not None or self.block is not None


@dataclass(frozen=True)
class Findings:
    """What the trial came to.

    Attributes:
        every: all payments of the days.
        each: the effect of each rule alone.
        together: that of all rules; None where only a policy was tried.
        of_policy: that of the policy, where one was tried.
    """

    stored: StoredDays
    every: Payments
    each: Sequence[Effect]
    together: Effect | None
    of_policy: Effect | None

    @property
    def effects(self) -> list[Effect]:
        """All that is worth showing, each once."""
        together = [self.together] if self.together and len(self.each) > 1 else []
        return [*self.each, *together, *([self.of_policy] if self.of_policy else [])]


def run_backtest(warehouse: Warehouse, settings: Settings, plan: Plan, trial: Trial) -> Findings:
    """Try it; nothing is written.

    Raises:
        InvalidInput: the days, the policy or a threshold can't be used, or there is no rule to try.
        MissingData: nothing was decided on these days.
    """
    if trial.last < trial.first:
        raise InvalidInput(f"to: {trial.last} lies before from, {trial.first}")
    if trial.is_of_policy and trial.channel != "batch":
        raise InvalidInput(
            "a policy is tried on the scores of the daily run: leave the channel out, or try rules alone"
        )
    policy = policy_in_force(settings)
    tried = policy_named(trial.policy_name, policies(settings)) if trial.policy_name else policy
    rules = _tried(warehouse, settings, trial)
    if not trial.is_of_policy and not rules.rules:
        raise InvalidInput("there is no rule to try: name a file with --rules, or a policy with --policy")
    with warehouse.connect(read_only=True):
        stored = StoredDays(
            warehouse,
            trial.first,
            trial.last,
            channel=trial.channel,
            policy=policy,
            unreported_share=settings.unreported_share,
        )
        by_rules = trial.rules is not None or not trial.is_of_policy
        each, together = backtest_rules(stored, rules) if by_rules else ([], None)
        of_policy = _of_policy(stored, tried, rules, plan, trial) if trial.is_of_policy else None
        return Findings(stored, stored.every, each, together, of_policy)


def _tried(warehouse: Warehouse, settings: Settings, trial: Trial) -> HardRules:
    """The rules that are to be tried, those in shadow like the others; by default those that decide the last day."""
    if trial.rules is None:
        return rules_of_day(warehouse, rules_in_force(settings), trial.last)
    return trial.rules.going_live()


def _of_policy(stored: StoredDays, policy: Policy, rules: HardRules, plan: Plan, trial: Trial) -> Effect:
    engines = {
        day: _at(engine_of_day(stored.warehouse, policy, day, rules=rules, plan=plan), trial.review, trial.block)
        for day in stored.by_day["event_date"]
    }
    return backtest_policy(stored, engines)


def _at(engine: DecisionEngine, review: float | None, block: float | None) -> DecisionEngine:
    """The engine with the thresholds to be tried, where there are any."""
    in_force = engine.thresholds
    at_review = in_force.review_threshold if review is None else review
    at_block = max(in_force.block_threshold, at_review) if block is None else block
    if not 0 <= at_review <= at_block <= 1:
        raise InvalidInput(f"thresholds lie from 0 to 1, review {at_review} at or below block {at_block}")
    tried: dict[str, Any] = in_force.model_dump() | {"review_threshold": at_review, "block_threshold": at_block}
    return replace(engine, thresholds=Thresholds.model_validate(tried))
