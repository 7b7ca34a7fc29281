"""Lists that people keep: who is allowed, blocked or watched, and for whom a rule is silent, each entry until a day.

An entry counts for transactions of its days, whenever they are decided, so that a day run again comes out the same. The
entries of a day become hard rules of it, and so part of the rules whose content the decision log keeps by its hash.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from fraud_pipelines.decisions.columns import Columns, asked_of
from fraud_pipelines.decisions.hard_rules import NO_RULES, RULE_REASON, Condition, HardRule, HardRules, Verdict
from fraud_pipelines.decisions.payment_filters import searched_columns
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.connection import Connection, insert, select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.timestamps import as_utc

TABLE: Final = "scoring.list_entries"
DECISIONS: Final[Mapping[str, Verdict]] = {"block": "block", "allow": "approve", "watch": "review"}
"""List → what it decides."""
SNOOZE: Final = "snooze"
"""The list of those for whom a rule is silent."""
LISTS: Final = (*DECISIONS, SNOOZE)
LIST_RULE: Final = "list-"
"""Begins the name of a rule that a list is."""
DAYS: Final = 90
"""How long an entry holds, unless somebody says otherwise."""
MOST_YEARS: Final = 10
MAX_CHARACTERS: Final = 200
_NAME_LENGTH: Final = 64


@dataclass(frozen=True)
class ListEntry:
    """An entry: payments whose ``column`` is ``value``, of the days ``begins`` to ``expires``, both included.

    Attributes:
        list_name: one of `LISTS`.
        rule: the name of the rule that is silent, of an entry of `SNOOZE`.
        ended_on: the first day on which it no longer counts, since somebody has taken it off; null while nobody has.
    """

    entry_id: str
    list_name: str
    column_name: str
    value: str
    rule: str | None
    begins: date
    expires: date
    reason: str
    author: str
    author_named_by: str | None
    added_at: datetime
    ended_on: date | None = None
    ended_by: str | None = None

    def holds_on(self, day: date) -> bool:
        """Whether it counts for transactions of ``day``."""
        return self.begins <= day <= self.expires and (self.ended_on is None or day < self.ended_on)


def add_entry(
    warehouse: Warehouse,
    plan: Plan,
    *,
    list_name: str,
    column: str,
    value: str,
    reason: str,
    author: str,
    now: datetime,
    expires: date | None = None,
    rule: str = "",
    rules: HardRules = NO_RULES,
    named_by: str | None = None,
) -> ListEntry:
    """Put a value of a column on a list, from today in UTC on.

    Args:
        expires: the last day that it counts for; by default `DAYS` from now.
        rule: of an entry of `SNOOZE`: the rule that is silent, one of ``rules``.
        named_by: where the author's name comes from, as of a reviewer.

    Raises:
        InvalidInput: a field can't be used, or the value is on the list already; the message names it.
        WarehouseBusy: another process holds the file.
    """
    now = as_utc(now)
    today = now.date()
    expires = expires or today + timedelta(days=DAYS)
    entry = ListEntry(
        entry_id=secrets.token_hex(8),
        list_name=list_name,
        column_name=column,
        value=_value(plan, column, value),
        rule=rule or None,
        begins=today,
        expires=expires,
        reason=plain_text("reason", reason),
        author=plain_text("author", author),
        author_named_by=named_by,
        added_at=now,
    )
    if list_name not in LISTS:
        raise InvalidInput(f"list: {list_name!r} is none of {', '.join(LISTS)}")
    if expires < today:
        raise InvalidInput(f"expires: {expires} lies in the past; it is {today}")
    if expires > today + timedelta(days=366 * MOST_YEARS):
        raise InvalidInput(f"expires: {expires} is more than {MOST_YEARS} years away")
    if list_name == SNOOZE and rule not in {each.name for each in rules.rules}:
        names = ", ".join(each.name for each in rules.rules) or "no rules"
        raise InvalidInput(f"rule: {rule!r} is no rule in force that could be silent; there are {names}")
    if list_name != SNOOZE and rule:
        raise InvalidInput(f"rule: only {SNOOZE} is about a rule")
    with warehouse.transaction() as connection:
        if standing := _standing(connection, entry):
            raise InvalidInput(
                f"{column} {entry.value!r} is on the list {list_name} until {standing.expires} already, by "
                f"{standing.author}: {standing.reason}. Take it off first."
            )
        insert(connection, TABLE, pl.DataFrame([vars(entry)], schema=_SCHEMA))
    return entry


def end_entry(warehouse: Warehouse, entry_id: str, *, author: str, now: datetime) -> ListEntry:
    """Take an entry off its list, from today in UTC on; for the days before it goes on to count.

    Raises:
        InvalidInput: there is no such entry, or it has ended.
    """
    today = as_utc(now).date()
    author = plain_text("author", author)
    with warehouse.transaction() as connection:
        entries = _read(connection, "entry_id = $id", {"id": entry_id})
        if not entries:
            raise InvalidInput(f"no list has an entry {entry_id!r}")
        [entry] = entries
        if entry.ended_on or entry.expires < today:
            raise InvalidInput(f"the entry {entry_id} has ended on {entry.ended_on or entry.expires} already")
        connection.update(
            TABLE,
            "ended_on = $today, ended_by = $author",
            "entry_id = $id",
            {"today": today, "author": author, "id": entry_id},
        )
    return entry


def read_entries(warehouse: Warehouse, *, day: date | None = None, list_name: str = "") -> list[ListEntry]:
    """The entries, the newest first; with ``day`` those that count for transactions of it."""
    conditions = {
        "begins <= $day AND expires >= $day AND (ended_on IS NULL OR ended_on > $day)": ("day", day),
        "list_name = $list_name": ("list_name", list_name or None),
    }
    asked = {condition: given for condition, given in conditions.items() if given[1] is not None}
    with warehouse.connect(read_only=True) as connection:
        return _read(connection, " AND ".join(asked) or "true", dict(asked.values()))


def entries_about(warehouse: Warehouse, transaction: Mapping[str, object], *, day: date) -> list[ListEntry]:
    """The entries that count for a transaction of ``day``, by the values of its columns."""
    values = {name: str(value) for name, value in transaction.items() if isinstance(value, str | int)}
    held = read_entries(warehouse, day=day)
    return [entry for entry in held if values.get(entry.column_name) == entry.value]


def with_lists(rules: HardRules, entries: Sequence[ListEntry], columns: Columns) -> HardRules:
    """The rules of a day, with what the ``entries`` that count on it decide; the same rules where there are none.

    Each list is a rule for each column, after those of the file, so that of one kind a rule of the file gives the
    reason. Columns that are no longer declared are left out.

    Raises:
        InvalidInput: a rule of the file has the name of a list.
    """
    if not entries:
        return rules
    names = {rule.name for rule in rules.rules}
    silent = [_but_for(rule, entries, columns) for rule in rules.rules]
    listed = []
    for list_name, verdict in DECISIONS.items():
        for column in dict.fromkeys(sorted(each.column_name for each in entries if each.list_name == list_name)):
            if column not in columns:
                continue
            values = {each.value for each in entries if (each.list_name, each.column_name) == (list_name, column)}
            name = rule_of_list(list_name, column)
            if name in names:
                raise InvalidInput(f"the rule {name} has the name of a list that people keep: rename it")
            fields = {
                "name": name,
                "decision": verdict,
                "expires": date.max,
                "description": f"{column} is on the list {list_name}",
                "when": {column: _any_of(values, column, columns)},
            }
            listed.append(HardRule.model_validate(fields, context=asked_of(columns)))
    return HardRules(rules=(*silent, *listed))


def list_columns(plan: Plan) -> dict[str, str]:
    """The columns that a list can be about, with their types."""
    types = {each.name: each.type for each in plan.attributes}
    return {name: types[name] for name in searched_columns(plan) if name != "transaction_id"}


def rule_of_list(list_name: str, column: str) -> str:
    """The name of the rule that a list is, for the values of a column."""
    return f"{LIST_RULE}{list_name}-{column}"[:_NAME_LENGTH]


def is_by_list(reason: pl.Expr, verdict: Verdict) -> pl.Expr:
    """Whether a list that decides so decided, by the reason of the decision."""
    lists = (name for name, decides in DECISIONS.items() if decides == verdict)
    return pl.any_horizontal(*(reason.str.starts_with(f"{RULE_REASON}{LIST_RULE}{name}-") for name in lists))


def _but_for(rule: HardRule, entries: Sequence[ListEntry], columns: Columns) -> HardRule:
    """The rule, silent for those who are snoozed."""
    found: dict[str, set[str]] = {}
    for entry in entries:
        if entry.list_name == SNOOZE and entry.rule == rule.name and entry.column_name in columns:
            found.setdefault(entry.column_name, set()).add(entry.value)
    if not found:
        return rule
    unless = {column: _any_of(values, column, columns) for column, values in sorted(found.items())}
    return rule.model_copy(update={"unless": unless})


def _any_of(values: set[str], column: str, columns: Columns) -> Condition:
    if columns[column] == "text":
        return Condition(any_of=tuple(sorted(values)))
    return Condition(any_of=tuple(sorted(float(value) for value in values)))


def _value(plan: Plan, column: str, value: str) -> str:
    kinds = list_columns(plan)
    if column not in kinds:
        raise InvalidInput(f"column: {column!r} is none that a list can be about; there are {', '.join(kinds)}")
    text = plain_text("value", value)
    if kinds[column] == "integer":
        try:
            return str(int(text))
        except ValueError as error:
            raise InvalidInput(f"value: {column} is a whole number, and {text!r} is none") from error
    return plan.stored(column, text)


def plain_text(name: str, value: str) -> str:
    """What a person has written on one line, without spaces around it.

    Raises:
        InvalidInput: it is empty, too long, or holds control characters.
    """
    text = value.strip()
    if not text:
        raise InvalidInput(f"{name}: say it; it can't be empty")
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f"{name}: has {len(text):,} characters; write at most {MAX_CHARACTERS}")
    if not text.isprintable():
        raise InvalidInput(f"{name}: has control characters; write plain text on one line")
    return text


_SCHEMA: Final[dict[str, pl.DataType]] = {
    "entry_id": pl.String(),
    "list_name": pl.String(),
    "column_name": pl.String(),
    "value": pl.String(),
    "rule": pl.String(),
    "begins": pl.Date(),
    "expires": pl.Date(),
    "reason": pl.String(),
    "author": pl.String(),
    "author_named_by": pl.String(),
    "added_at": pl.Datetime("us"),
    "ended_on": pl.Date(),
    "ended_by": pl.String(),
}


def _standing(connection: Connection, entry: ListEntry) -> ListEntry | None:
    """The entry that says the same and counts today."""
    found = _read(
        connection,
        "list_name = $list AND column_name = $column AND value = $value AND rule IS NOT DISTINCT FROM $rule "
        "AND expires >= $today AND ended_on IS NULL",
        {
            "list": entry.list_name,
            "column": entry.column_name,
            "value": entry.value,
            "rule": entry.rule,
            "today": entry.begins,
        },
    )
    return found[0] if found else None


def _read(connection: Connection, condition: str, parameters: Mapping[str, object]) -> list[ListEntry]:
    columns = ", ".join(_SCHEMA)
    query = f"SELECT {columns} FROM {TABLE} WHERE {condition} ORDER BY added_at DESC, entry_id"
    return [ListEntry(**row) for row in select(connection, query, parameters).iter_rows(named=True)]
