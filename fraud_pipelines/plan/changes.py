"""What going over from one plan to another would do: columns, features, entities that start cold, models to retrain."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.spans import written_span
from fraud_pipelines.plan.types import Aggregate, Attribute, Modelled


@dataclass(frozen=True)
class Difference:
    """Names that are new, gone, or the same with another content; of the latter, what differs."""

    new: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.new or self.removed or self.changed)


@dataclass(frozen=True)
class Changes:
    """What a change of declarations means.

    Attributes:
        columns: of a transaction.
        features: of the feature table.
        cold: entity → how far back its new and changed features look: they say less than they mean until that much
            history has been folded.
        daily_models: whether what the daily models read becomes another: its features, their computation or their role.
        supervised_model: the same for the supervised model, which reads every number and flag that has a role.
    """

    columns: Difference
    features: Difference
    cold: Mapping[str, str]
    daily_models: bool
    supervised_model: bool

    def __bool__(self) -> bool:
        return bool(self.columns or self.features)


def changes(before: Plan, after: Plan) -> Changes:
    """What going over from ``before`` to ``after`` would do."""
    return Changes(
        columns=_columns(before, after),
        features=_features(before, after),
        cold=_cold(before, after),
        daily_models=_reads(before, before.daily_schema) != _reads(after, after.daily_schema),
        supervised_model=_reads(before, before.supervised_schema) != _reads(after, after.supervised_schema),
    )


def _columns(before: Plan, after: Plan) -> Difference:
    was = {attribute.name: attribute for attribute in before.attributes}
    now = {attribute.name: attribute for attribute in after.attributes}
    changed = {name: _told(was[name], now[name]) for name in now if name in was}
    return Difference(*_names(was, now), {name: told for name, told in changed.items() if told})


def _told(was: Attribute, now: Attribute) -> str:
    """What differs between two declarations of a column, words aside."""
    pairs = [
        ("type", was.type, now.type),
        ("required", was.required, now.required),
        ("min", was.minimum, now.minimum),
        ("max", was.maximum, now.maximum),
        ("pii", was.pii, now.pii),
        ("model", in_words(was.model), in_words(now.model)),
        ("zone", was.zone, now.zone),
    ]
    return ", ".join(f"{name}: {_value(old)} → {_value(new)}" for name, old, new in pairs if old != new)


def _features(before: Plan, after: Plan) -> Difference:
    changed = {}
    for name, now in after.features.items():
        was = before.features.get(name)
        if was is None:
            continue
        told = ["computed otherwise"] if was.definition != now.definition else []
        if was.model != now.model:
            told.append(f"model: {in_words(was.model)} → {in_words(now.model)}")
        if told:
            changed[name] = ", ".join(told)
    return Difference(*_names(before.features, after.features), changed)


def _cold(before: Plan, after: Plan) -> dict[str, str]:
    definitions = {name: feature.definition for name, feature in before.features.items()}
    cold = {}
    for entity in after.entities:
        different = [
            aggregate
            for aggregate in entity.aggregates
            # What is computed from labels looks them up, and keeps nothing.
            if not FUNCTIONS[aggregate.how].labels
            and definitions.get(aggregate.name) != after.features[aggregate.name].definition
        ]
        if different:
            cold[entity.name] = _reach(different)
    return cold


def _reach(aggregates: Sequence[Aggregate]) -> str:
    """How far back the furthest of them looks."""
    if any(each.over is None and "window" not in each.options for each in aggregates):
        return "all that came before"
    spans = [each.over for each in aggregates if isinstance(each.over, timedelta)]
    spans += [timedelta(days=each.options["outsized_days"]) for each in aggregates if "outsized_days" in each.options]
    rows = [each.over for each in aggregates if isinstance(each.over, int)]
    rows += [int(each.options["window"]) for each in aggregates if "window" in each.options]
    told = [written_span(max(spans))] if spans else []
    return " and ".join([*told, *([f"{max(rows)} transactions"] if rows else [])])


def _reads(plan: Plan, schema: Mapping[str, Modelled]) -> tuple[str, dict[str, tuple[str, str]]]:
    return plan.version_of(schema), {name: (model.role, model.direction) for name, model in schema.items()}


def _names(was: Iterable[str], now: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    before, after = dict.fromkeys(was), dict.fromkeys(now)
    return tuple(name for name in after if name not in before), tuple(name for name in before if name not in after)


def in_words(model: Modelled | None) -> str:
    """How a model gets a value, in a few words."""
    if model is None:
        return "none"
    direction = f" {model.direction}" if model.role == "numeric" else ""
    return (
        f"{model.role}{direction}"
        + (", daily" if model.daily else "")
        + (f", group {model.group}" if model.group else "")
    )


def _value(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
