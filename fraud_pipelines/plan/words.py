"""Words about an aggregate, from its function: what it is, by which formula, when it is null."""

from collections.abc import Set
from datetime import timedelta

from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.spans import written_span
from fraud_pipelines.plan.types import Aggregate, EntityPlan


def description(entity: EntityPlan, aggregate: Aggregate) -> str:
    """What the aggregate is, in a sentence; the declaration's own where it has one."""
    text = aggregate.description or _filled(FUNCTIONS[aggregate.how].description, entity, aggregate)
    text = text[:1].upper() + text[1:]
    if aggregate.where and not aggregate.description:
        return f"{text.rstrip('.')}; only those where {aggregate.where}."
    return text


def computation(aggregate: Aggregate) -> str:
    """How it was declared, in one line: ``sum of amount, 24 h, where status = 'declined'``."""
    over, _, _ = _window(aggregate.over)
    rows = " rows" if isinstance(aggregate.over, int) else ""
    options = FUNCTIONS[aggregate.how].options
    parts = [
        aggregate.how + (f" of {', '.join(aggregate.of)}" if aggregate.of else ""),
        over + rows,
        *(f"{name} {value:g}" for name, value in aggregate.options.items() if value != options[name].default),
        f"where {' '.join(aggregate.where.split())}" if aggregate.where else "",
    ]
    return ", ".join(part for part in parts if part)


def formula(entity: EntityPlan, aggregate: Aggregate) -> str:
    """How it is computed; x stands for the column, t for the time, i for the position of the row."""
    return _filled(FUNCTIONS[aggregate.how].formula, entity, aggregate)


def null_rule(entity: EntityPlan, aggregate: Aggregate, optional: Set[str]) -> str:
    """When it is null; ``optional`` are the columns, and the aggregates, that a row may lack."""
    function = FUNCTIONS[aggregate.how]
    complete = aggregate.where is None and optional.isdisjoint(aggregate.of)
    rule = _filled(function.complete_null_rule if complete else function.null_rule, entity, aggregate)
    lacking = [column for column in entity.key if column in optional]
    if not lacking:
        return rule
    return f"null without {' or '.join(lacking)}" + ("" if rule == "never null" else f"; {rule}")


def _filled(template: str, entity: EntityPlan, aggregate: Aggregate) -> str:
    whose = "the " + " and ".join(column.removesuffix("_id").replace("_", " ") for column in entity.key) + "'s"
    over, within, window = _window(aggregate.over)
    options = {name: f"{value:g}" for name, value in aggregate.options.items()}
    steps = aggregate.over if isinstance(aggregate.over, int) else 1
    words = {
        "back": "previous transaction" if steps == 1 else f"transaction {steps} before this one",
        "first": "first transaction" if steps == 1 else f"first {steps} transactions",
        "whose": whose,
        "Whose": whose[:1].upper() + whose[1:],
        "of": " and ".join(aggregate.of),
        "over": over,
        "within": within,
        "window": window,
        "window_rows": f"{options.get('window', '')} transactions",
    }
    return template.format(**{"weight": "", "share": "", **options, **words})


def _window(over: int | timedelta | None) -> tuple[str, str, str]:
    if over is None:
        return "", "", ""
    if isinstance(over, timedelta):
        span = written_span(over)
        return span, f"in the last {span}, this one included", f"in (t − {span}, t]"
    return str(over), f"among the last {over}, this one included", f"over the last {over} rows"
