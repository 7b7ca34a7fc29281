"""What is in force, written as one declarations file that stands by itself: what ships included, every default spelled
out."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import yaml

from fraud_pipelines.plan.spans import written_span
from fraud_pipelines.plan.types import SOURCE_AMOUNT, Aggregate, Attribute, EntityPlan, ExpressionPlan, Modelled


def written(
    attributes: Iterable[Attribute], entities: Iterable[EntityPlan], expressions: Mapping[str, ExpressionPlan]
) -> str:
    """YAML with the keys that a ``fraud.yaml`` has, an aggregate for each window.

    Args:
        expressions: by name, in the order in which they were declared.
    """
    columns = list(attributes)
    zone = next((each.zone for each in columns if each.zone), None)
    content = {
        "local_zone": zone,
        "attributes": {each.name: _attribute(each) for each in columns if each.name != SOURCE_AMOUNT},
        "entities": {
            each.name: {"key": list(each.key), "aggregates": [_aggregate(every) for every in each.aggregates]}
            for each in entities
        },
        "features": {name: _expression(each) for name, each in expressions.items()},
    }
    return yaml.safe_dump(_stated(content), sort_keys=False, allow_unicode=True, width=120)


def _attribute(each: Attribute) -> dict[str, Any]:
    bounds = {"min": each.minimum, "max": each.maximum}
    model = _model(each.model) if each.model else {}
    return _stated(
        {"type": each.type, "required": each.required, **bounds, "pii": each.pii}
        | {**model, "description": each.description}
    )


def _aggregate(each: Aggregate) -> dict[str, Any]:
    over = written_span(each.over).replace(" ", "") if isinstance(each.over, timedelta) else each.over
    computed = {"how": each.how, "of": list(each.of), "over": over, "where": each.where, "name": each.name}
    return _stated(
        computed
        | {"options": dict(each.options), **_model(each.model)}
        | {"description": each.description, "phrase": each.phrase}
    )


def _expression(each: ExpressionPlan) -> dict[str, Any]:
    words = {"null_rule": each.null_rule, "description": each.description, "phrase": each.phrase}
    return _stated({"sql": each.sql, **_model(each.model), **words})


def _model(model: Modelled | None) -> dict[str, Any]:
    if model is None:
        return {"role": "none"}
    direction = None if model.role in ("hash", "label") else model.direction
    return {"role": model.role, "direction": direction, "daily": model.daily, "group": model.group}


def _stated(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that state something."""
    return {key: value for key, value in keys.items() if value or (value == 0 and value is not False)}
