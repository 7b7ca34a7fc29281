"""Which payments a person asked to see, and in which order: one choice for the review queue and for all payments."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Literal

from fraud_pipelines.decisions.hard_rules import RULE_REASON
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.plan import Plan

COLUMN: Final = "by_"
"""Begins the name under which a column of a transaction is asked for: ``by_country=DE``."""
MAX_CHARACTERS: Final = 200

DECISIONS: Final = ("block", "review", "approve")
CHANNELS: Final = ("batch", "stream")
KNOWN: Final = ("fraud", "legitimate", "nothing")

Order = Literal["loss", "newest", "oldest", "amount", "score"]
ORDERS: Final[Mapping[str, str]] = {
    "loss": "d.expected_loss DESC, d.score DESC, t.transaction_id",
    "newest": 't."timestamp" DESC, t.transaction_id',
    "oldest": 't."timestamp", t.transaction_id',
    "amount": "t.amount DESC, t.transaction_id",
    "score": "d.score DESC NULLS LAST, t.transaction_id",
}
"""In SQL, over transactions ``t`` and what was decided on them ``d``; only what waits has an expected loss."""


@dataclass(frozen=True)
class Filters:
    """What payments must be, all of it at once; what is empty or None asks nothing.

    Attributes:
        decision, channel, rule: of what was decided; ``rule`` is the name of a hard rule.
        first_day, last_day: event days in UTC, both included.
        least, most: bounds of the amount, both included.
        known: ``fraud`` or ``legitimate`` by the verdict that holds, or ``nothing``.
        columns: columns of a transaction, and the value of each as text.
    """

    decision: str = ""
    channel: str = ""
    first_day: date | None = None
    last_day: date | None = None
    least: float | None = None
    most: float | None = None
    rule: str = ""
    known: str = ""
    columns: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return self != Filters()

    @property
    def query(self) -> dict[str, str]:
        """As `read_filters` takes them: what is asked, by name."""
        asked = {
            "decision": self.decision,
            "channel": self.channel,
            "from": self.first_day.isoformat() if self.first_day else "",
            "to": self.last_day.isoformat() if self.last_day else "",
            "least": "" if self.least is None else str(self.least).removesuffix(".0"),
            "most": "" if self.most is None else str(self.most).removesuffix(".0"),
            "rule": self.rule,
            "known": self.known,
            **{COLUMN + name: value for name, value in self.columns},
        }
        return {name: value for name, value in asked.items() if value}


_FIELDS: Final = ("decision", "channel", "from", "to", "least", "most", "rule", "known")


@dataclass(frozen=True)
class Condition:
    """SQL over ``t``, ``d`` and ``l`` (transactions, decisions, verdicts), and its parameters by name."""

    of_transaction: str = "true"
    of_decision: str = "true"
    of_channel: str = "true"
    of_verdict: str = "true"
    parameters: Mapping[str, object] = field(default_factory=dict)

    @property
    def of_waiting(self) -> str:
        """What is asked of a case that waits: no verdict is known of it."""
        return f"{self.of_transaction} AND {self.of_decision} AND {self.of_channel}"


def condition_of(filters: Filters) -> Condition:
    """The filters as SQL; values are parameters, and never part of the text."""
    asked: list[str] = []
    parameters: dict[str, object] = {}
    bounds = (
        ("t.event_date >=", "first_day", filters.first_day),
        ("t.event_date <=", "last_day", filters.last_day),
        ("t.amount >=", "least", filters.least),
        ("t.amount <=", "most", filters.most),
    )
    for comparison, name, bound in bounds:
        if bound is not None:
            asked.append(f"{comparison} ${name}")
            parameters[name] = bound
    for position, (column, value) in enumerate(filters.columns):
        asked.append(f't."{column}"::VARCHAR = $column_{position}')
        parameters[f"column_{position}"] = value
    decided: list[str] = []
    if filters.decision:
        decided.append("d.decision = $decision")
        parameters["decision"] = filters.decision
    if filters.rule:
        decided.append("d.reason = $rule")
        parameters["rule"] = RULE_REASON + filters.rule
    if filters.channel:
        parameters["channel"] = filters.channel
    verdict = {"": "true", "fraud": "l.actual_fraud", "legitimate": "NOT l.actual_fraud"}
    return Condition(
        of_transaction=" AND ".join(asked) or "true",
        of_decision=" AND ".join(decided) or "true",
        of_channel="d.channel = $channel" if filters.channel else "true",
        of_verdict=verdict.get(filters.known, "l.actual_fraud IS NULL"),
        parameters=parameters,
    )


def read_filters(asked: Mapping[str, str], plan: Plan) -> Filters:
    """The filters in what a person filled in; names that are none of theirs are left alone.

    Raises:
        InvalidInput: a value can't be meant; the message names the field.
    """
    given = {name: value.strip() for name, value in asked.items() if name in _FIELDS or name.startswith(COLUMN)}
    for name, value in given.items():
        if len(value) > MAX_CHARACTERS or not value.isprintable():
            raise InvalidInput(f"{name}: write at most {MAX_CHARACTERS} characters, on one line")
    searched = searched_columns(plan)
    columns = {name.removeprefix(COLUMN): value for name, value in given.items() if name.startswith(COLUMN) and value}
    if unknown := sorted(columns.keys() - set(searched)):
        raise InvalidInput(
            f"{unknown[0]} is no declared column of text or whole numbers; there are {', '.join(searched)}"
        )
    first_day, last_day = (day_of(name, given[name]) if given.get(name) else None for name in ("from", "to"))
    if first_day and last_day and last_day < first_day:
        raise InvalidInput(f"to: {last_day} lies before from, {first_day}")
    least, most = _amount(given, "least"), _amount(given, "most")
    if least is not None and most is not None and most < least:
        raise InvalidInput(f"most: {most:g} lies below least, {least:g}")
    return Filters(
        decision=_one_of(given, "decision", DECISIONS),
        channel=_one_of(given, "channel", CHANNELS),
        first_day=first_day,
        last_day=last_day,
        least=least,
        most=most,
        rule=given.get("rule", "").removeprefix(RULE_REASON),
        known=_one_of(given, "known", KNOWN),
        columns=tuple(sorted((name, plan.stored(name, value)) for name, value in columns.items())),
    )


def read_order(asked: Mapping[str, str], default: str, *, waiting: bool) -> str:
    """The order that a person chose, one of `ORDERS`."""
    orders = [name for name in ORDERS if waiting or name != "loss"]
    return _one_of(asked, "sort", orders) or default


def searched_columns(plan: Plan) -> list[str]:
    """The columns of a transaction that people look payments up by: texts and whole numbers, in the order declared."""
    return [each.name for each in plan.attributes if each.type in ("text", "integer")]


def linked_columns(plan: Plan) -> dict[str, str]:
    """The columns that tell who or what took part → what that is called: those that an entity is told by."""
    keys = {entity.key[0]: entity.name for entity in plan.entities if len(entity.key) == 1}
    keys["user_id"] = "customer"
    return {each.name: keys[each.name] for each in plan.attributes if each.name in keys}


def _one_of(given: Mapping[str, str], name: str, allowed: "list[str] | tuple[str, ...]") -> str:
    value = given.get(name, "")
    if value and value not in allowed:
        raise InvalidInput(f"{name}: {value!r} is none of {', '.join(allowed)}")
    return value


def day_of(name: str, value: str) -> date:
    """The day that a field of a form says.

    Raises:
        InvalidInput: it says none; the message names the field.
    """
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise InvalidInput(f"{name}: {value!r} is no day; write it as 2026-11-25") from error


def _amount(given: Mapping[str, str], name: str) -> float | None:
    value = given.get(name, "")
    if not value:
        return None
    try:
        amount = float(value)
    except ValueError as error:
        raise InvalidInput(f"{name}: {value!r} is no number; write it as 120 or 99.50") from error
    if not math.isfinite(amount):
        raise InvalidInput(f"{name}: {value!r} is no amount")
    return amount
