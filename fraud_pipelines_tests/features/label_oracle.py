"""Label features by their plain definitions, one transaction and one label at a time."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from fraud_pipelines.plan.types import Aggregate, EntityPlan
from fraud_pipelines_tests.features.oracle import Label, Transaction

Value = float | None


def label_features(
    entity: EntityPlan, now: Transaction, rows: Sequence[Transaction], labels: Sequence[Label]
) -> dict[str, Value]:
    """The features of ``now``, of which ``rows`` and ``labels`` are all there will ever be."""
    t, key = now["timestamp"], _key(entity, now)
    if None in key:
        return {aggregate.name: None for aggregate in entity.aggregates}
    earlier = [row for row in rows if _key(entity, row) == key and row["timestamp"] < t]
    known = {row["transaction_id"]: _known(row, labels, t) for row in earlier}
    frauds = [row["timestamp"] for row in earlier if _is_fraud(known[row["transaction_id"]])]
    happened = [row["timestamp"] for row in earlier if not row.get("judged_only")]
    lasting = [row["timestamp"] for row in earlier if row.get("judged_only") and known[row["transaction_id"]]]
    labelled = [row["timestamp"] for row in earlier if not row.get("judged_only") and known[row["transaction_id"]]]
    return {each.name: _value(each, t, happened, labelled, lasting, frauds) for each in entity.aggregates}


def _value(
    aggregate: Aggregate,
    t: datetime,
    happened: list[datetime],
    labelled: list[datetime],
    lasting: list[datetime],
    frauds: list[datetime],
) -> Value:
    if aggregate.how == "days_since_fraud":
        return (t - max(frauds)) / timedelta(days=1) if frauds else None
    if isinstance(aggregate.over, int):
        return _share_of_last(aggregate, aggregate.over, t, happened, labelled, lasting, frauds)
    assert isinstance(aggregate.over, timedelta)
    if aggregate.how in ("days_since_first_fraud", "days_since_last_fraud"):
        inside = [s for s in frauds if t - aggregate.over < s]
        chosen = min if aggregate.how == "days_since_first_fraud" else max
        return (t - chosen(inside)) / timedelta(days=1) if inside else None
    if aggregate.how == "fraud_count":
        return sum(t - aggregate.over < s for s in frauds)
    delay = timedelta(days=aggregate.options["delay_days"])
    begin = t - delay - aggregate.over
    n = sum(begin < s <= t - delay for s in happened) + sum(begin < s and t - delay < s for s in labelled)
    n += sum(begin < s for s in lasting)
    if aggregate.how == "labelled_count":
        return n
    weight, prior = aggregate.options["weight"], aggregate.options["prior"]
    k = sum(begin < s for s in frauds)
    assert k <= n
    return (k + weight) / (n + weight / prior) if n or weight else prior


def _share_of_last(
    aggregate: Aggregate,
    count: int,
    t: datetime,
    happened: list[datetime],
    labelled: list[datetime],
    lasting: list[datetime],
    frauds: list[datetime],
) -> Value:
    delay, days = (timedelta(days=aggregate.options[name]) for name in ("delay_days", "days"))
    old_enough = [s for s in happened if t - delay - days < s <= t - delay]
    known = [*old_enough, *(s for s in labelled if t - delay < s), *(s for s in lasting if t - delay - days < s)]
    legitimate = [s for s in known if s not in frauds]
    for instant in {*frauds} & {*known}:
        legitimate += [instant] * (known.count(instant) - frauds.count(instant))
    in_order = sorted([*((s, True) for s in frauds if s in known), *((s, False) for s in legitimate)])
    last = [is_fraud for _, is_fraud in in_order[-count:]]
    return sum(last) / len(last) if last else None


def _known(row: Transaction, labels: Sequence[Label], t: datetime) -> list[Label]:
    return [each for each in labels if each["transaction_id"] == row["transaction_id"] and each["known_at"] < t]


def _is_fraud(known: list[Label]) -> bool:
    final = [each for each in known if each["source"] == "chargeback"] or known
    return bool(final) and max(final, key=lambda each: each["known_at"])["actual_fraud"]


def _key(entity: EntityPlan, row: Transaction) -> tuple[object, ...]:
    return tuple(dict(row)[column] for column in entity.key)
