"""Promotions of rules: which rules that the file holds in shadow decide all the same, since when, and who says so.

The file stays as it is. A promoted rule counts for transactions of the days from its promotion on, whenever they are
decided. It becomes one of the rules of these days, and so part of the content that the decision log keeps by its hash.
"""

import secrets
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import polars as pl

from fraud_pipelines.decisions.engine import version_of
from fraud_pipelines.decisions.entity_lists import plain_text
from fraud_pipelines.decisions.hard_rules import HardRules
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.connection import Connection, insert, select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.timestamps import as_utc

TABLE: Final = "scoring.rule_promotions"


@dataclass(frozen=True)
class RulePromotion:
    """A rule in shadow that decides from ``begins`` on.

    Attributes:
        content: of the rule when it was promoted, as JSON; should the file change, the rule of that name counts.
        ended_on: the first day on which it no longer counts, since somebody put the rule back into shadow.
    """

    promotion_id: str
    rule: str
    content: str
    begins: date
    reason: str
    author: str
    promoted_at: datetime
    ended_on: date | None = None
    ended_by: str | None = None


def promote_rule(
    warehouse: Warehouse, rules: HardRules, name: str, *, reason: str, author: str, now: datetime
) -> RulePromotion:
    """Let a rule that is in shadow decide, from today in UTC on.

    Args:
        rules: those of the file.

    Raises:
        InvalidInput: there is no such rule, it is not in shadow, it has ended, or it was promoted before; or a text
            can't be used. The message names it.
        WarehouseBusy: another process holds the file.
    """
    now = as_utc(now)
    rule = next((each for each in rules.rules if each.name == name), None)
    if rule is None:
        names = ", ".join(each.name for each in rules.in_shadow) or "none"
        raise InvalidInput(f"name: there is no rule {name!r}; in shadow there are {names}")
    if not rule.shadow:
        raise InvalidInput(f"name: the rule {name} is not in shadow: it decides already")
    if rule.expires < now.date():
        raise InvalidInput(f"name: the rule {name} ended on {rule.expires}: give it another day in expires first")
    live = rule.model_copy(update={"shadow": False})
    promotion = RulePromotion(
        promotion_id=secrets.token_hex(8),
        rule=name,
        content=version_of("rule", live).content,
        begins=now.date(),
        reason=plain_text("reason", reason),
        author=plain_text("author", author),
        promoted_at=now,
    )
    with warehouse.transaction() as connection:
        if standing := _standing(connection, name):
            raise InvalidInput(f"name: the rule {name} decides since {standing.begins} already, by {standing.author}")
        insert(connection, TABLE, pl.DataFrame([vars(promotion)], schema=_SCHEMA))
    return promotion


def demote_rule(warehouse: Warehouse, name: str, *, author: str, now: datetime) -> RulePromotion:
    """Put a promoted rule back into shadow, from today in UTC on; for the days before it goes on to count.

    Raises:
        InvalidInput: the rule was not promoted.
    """
    author = plain_text("author", author)
    today = as_utc(now).date()
    with warehouse.transaction() as connection:
        standing = _standing(connection, name)
        if standing is None:
            raise InvalidInput(f"name: no rule {name!r} was promoted")
        connection.update(
            TABLE,
            "ended_on = $today, ended_by = $author",
            "promotion_id = $id",
            {"today": today, "author": author, "id": standing.promotion_id},
        )
    return standing


def read_promotions(warehouse: Warehouse, *, day: date) -> list[RulePromotion]:
    """Those that count for transactions of ``day``, the newest first."""
    with warehouse.connect(read_only=True) as connection:
        return _read(connection, "begins <= $day AND (ended_on IS NULL OR ended_on > $day)", {"day": day})


def rules_of_day(warehouse: Warehouse, rules: HardRules, day: date) -> HardRules:
    """The rules of the file that decide transactions of ``day``: all but those in shadow that nobody has promoted."""
    if not rules.in_shadow:
        return rules
    return rules.going_live({each.rule for each in read_promotions(warehouse, day=day)})


_SCHEMA: Final = {
    "promotion_id": pl.String(),
    "rule": pl.String(),
    "content": pl.String(),
    "begins": pl.Date(),
    "reason": pl.String(),
    "author": pl.String(),
    "promoted_at": pl.Datetime("us"),
    "ended_on": pl.Date(),
    "ended_by": pl.String(),
}


def _standing(connection: Connection, name: str) -> RulePromotion | None:
    found = _read(connection, "rule = $rule AND ended_on IS NULL", {"rule": name})
    return found[0] if found else None


def _read(connection: Connection, condition: str, parameters: dict[str, object]) -> list[RulePromotion]:
    columns = ", ".join(_SCHEMA)
    query = f"SELECT {columns} FROM {TABLE} WHERE {condition} ORDER BY promoted_at DESC, promotion_id"
    return [RulePromotion(**row) for row in select(connection, query, parameters).iter_rows(named=True)]
