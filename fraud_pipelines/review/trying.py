"""The page on which a rule or a policy is tried on stored days, before it bites."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from fraud_pipelines.decisions.columns import columns_of
from fraud_pipelines.decisions.configuration import policies, rules_in_force, typed_rule
from fraud_pipelines.decisions.hard_rules import VERDICTS, HardRules
from fraud_pipelines.decisions.payment_filters import CHANNELS, day_of
from fraud_pipelines.decisions.policies import POLICIES
from fraud_pipelines.decisions.rule_promotions import rules_of_day
from fraud_pipelines.errors import FraudPipelinesError, InvalidInput, WarehouseBusy
from fraud_pipelines.evaluation.backtest_run import Trial, run_backtest
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.review.desk import Desk, held
from fraud_pipelines.review.rendering import Renderer
from fraud_pipelines.settings import Settings

MAX_CONDITIONS: Final = 4_000
DAYS: Final = 30
_WAIT_SECONDS: Final = 4.0
_FIELDS: Final = ("from", "to", "channel", "policy", "review", "block", "decision", "when")


class Trying:
    """The handler. It only reads, and lets one trial run at a time, so that nobody's page waits for many."""

    def __init__(self, desk: Desk, renderer: Renderer, settings: Settings) -> None:
        self._desk = desk
        self._renderer = renderer
        self._settings = settings
        self._running = threading.Lock()

    def backtest(self, request: Request) -> Response:
        asked = {name: request.query_params.get(name, "").strip() for name in _FIELDS}
        with self._desk.reading() as warehouse:
            last = warehouse.read("SELECT max(event_date) FROM scoring.decisions").item()
        defaults = {"from": last - timedelta(days=DAYS - 1), "to": last} if last else {}
        asked |= {name: day.isoformat() for name, day in defaults.items() if not asked[name]}
        findings, problem, in_force, offered = None, "", HardRules(), sorted(POLICIES)
        try:
            with self._desk.reading() as warehouse:
                in_force = rules_of_day(warehouse, rules_in_force(self._settings), last or datetime.now(UTC).date())
            offered = sorted(policies(self._settings))
            if "try" in request.query_params:
                trial = _trial(asked, self._desk.plan, in_force)
                with held(self._running, _WAIT_SECONDS), self._desk.reading() as warehouse:
                    findings = run_backtest(warehouse, self._settings, self._desk.plan, trial)
        except WarehouseBusy:
            raise
        except FraudPipelinesError as error:
            problem = str(error)
        return self._renderer.page(
            "backtest.html",
            status=400 if problem else 200,
            asked=asked,
            in_force=in_force.rules,
            policies=offered,
            verdicts=VERDICTS,
            channels=CHANNELS,
            longest=MAX_CONDITIONS,
            findings=findings,
            problem=problem,
        )


def _trial(asked: Mapping[str, str], plan: Plan, in_force: HardRules) -> Trial:
    """What the form asks for: a typed rule, a policy, thresholds, or else the rules in force.

    Raises:
        InvalidInput: a field can't be meant.
    """
    if len(asked["when"]) > MAX_CONDITIONS:
        raise InvalidInput(f"the conditions have {len(asked['when']):,} characters; write at most {MAX_CONDITIONS:,}")
    typed = None
    if asked["when"]:
        typed = HardRules(rules=(typed_rule(asked["when"], asked["decision"], columns_of(plan)),))
    channel = asked["channel"] or "batch"
    if channel not in CHANNELS:
        raise InvalidInput(f"channel: {channel!r} is none of {', '.join(CHANNELS)}")
    trial = Trial(
        day_of("from", asked["from"]),
        day_of("to", asked["to"]),
        channel,
        typed,
        asked["policy"] or None,
        _share(asked, "review"),
        _share(asked, "block"),
    )
    if typed is None and not trial.is_of_policy and not in_force.rules:
        raise InvalidInput("no rule is in force: type the conditions of one, or choose a policy")
    return trial


def _share(asked: Mapping[str, str], name: str) -> float | None:
    if not asked[name]:
        return None
    try:
        return float(asked[name])
    except ValueError as error:
        raise InvalidInput(f"{name}: {asked[name]!r} is no threshold; write a number from 0 to 1") from error
