"""The warehouse gives label features what memory gives, and names every day that a change makes outdated."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.features.known_labels import LabelLookup
from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.features.label_tables import days_outdated_by_labels, outdated_days, read_label_events
from fraud_pipelines.plan.types import Aggregate, EntityPlan
from fraud_pipelines.storage.connection import Connection
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.features.label_oracle import Value
from fraud_pipelines_tests.features.label_samples import DAY, ENTITIES, INSTANT, READ, busy_days, labels, looked_up
from fraud_pipelines_tests.features.oracle import Label, Transaction
from fraud_pipelines_tests.features.random_transactions import START, frame, label_frame, transactions
from fraud_pipelines_tests.features.stored import store

EXAMPLES = examples(15)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    warehouse = warehouse_at(tmp_path_factory.mktemp("labels") / "fraud.duckdb")
    warehouse.initialise()
    with warehouse.transaction() as connection:
        connection.create_table("features.transaction_features", {"event_date": "DATE"})
    return warehouse


@contextmanager
def holding(warehouse: Warehouse, rows: Sequence[Transaction], known: Sequence[Label]) -> Iterator[Connection]:
    """The warehouse with these rows, all of whose days are derived, for a while."""
    store(warehouse, rows, known)
    with warehouse.transaction() as connection:
        connection.execute("INSERT INTO features.transaction_features SELECT event_date FROM raw.transactions")
    with warehouse.connect(read_only=True) as connection:
        yield connection
    with warehouse.transaction() as connection:
        for table in ("raw.transactions", "feedback.labels", "features.transaction_features"):
            connection.execute(f"DELETE FROM {table}")


def in_memory(rows: Sequence[Transaction], known: Sequence[Label]) -> dict[str, list[dict[str, Value]]]:
    """By entity, the features of each row."""
    events = LabelEvents.of(ENTITIES, frame(list(rows)), label_frame(list(known)))
    return {entity.name: looked_up(LabelLookup.of(entity, events), rows) for entity in READ}


def days_of(rows: Sequence[Transaction]) -> list[date]:
    return sorted({row["timestamp"].date() for row in rows})


def agree(connection: Connection, rows: Sequence[Transaction], known: Sequence[Label]) -> None:
    expected = in_memory(rows, known)
    for day in days_of(rows):
        positions = [position for position, row in enumerate(rows) if row["timestamp"].date() == day]
        own = [rows[position] for position in positions]
        for asked in (frame(own), None):
            events = read_label_events(connection, ENTITIES, day, asked)
            for entity in READ:
                found = looked_up(LabelLookup.of(entity, events), own)
                assert found == [expected[entity.name][position] for position in positions]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [5, 6, 7])
def test_what_is_read_for_a_day_gives_what_memory_gives_at_once(empty: Warehouse, seed: int) -> None:
    rows, known = busy_days(seed)
    with holding(empty, rows, known) as connection:
        agree(connection, rows, known)
    for found in in_memory(rows, known).values():
        assert min(pl.DataFrame(found, infer_schema_length=None).select(pl.all().n_unique()).row(0)) > 1


@pytest.mark.slow
@examples(8)
@given(rows=transactions(max_size=16), data=st.data())
def test_what_is_read_for_any_day_gives_what_memory_gives(
    empty: Warehouse, rows: list[Transaction], data: st.DataObject
) -> None:
    known = data.draw(labels(rows))
    with holding(empty, rows, known) as connection:
        agree(connection, rows, known)


def test_of_the_time_between_edges_only_counts_are_read(empty: Warehouse) -> None:
    merchant = EntityPlan("merchant", ("merchant_id",), (ENTITIES[0].aggregates[4],))  # a rate over 30 d
    hourly: list[Transaction] = [
        {**LATE, "transaction_id": str(hour), "timestamp": START + hour * DAY / 24} for hour in range(24 * 40)
    ]
    with holding(empty, hourly, []) as connection:
        events = read_label_events(connection, [merchant], (START + 39 * DAY).date())
    assert events.activity["merchant"]["_weight"].sort(descending=True).to_list() == [29 * 24] + [1] * 48


def test_a_stream_finds_the_label_of_an_entity_that_is_new(empty: Warehouse) -> None:
    review: list[Label] = [
        {"transaction_id": "late", "source": "review", "actual_fraud": False, "known_at": START + DAY}
    ]
    counted = Aggregate("labelled", "labelled_count", over=30 * DAY, options={"delay_days": 7})
    user = EntityPlan("user", ("user_id",), (counted,))
    with holding(empty, [LATE], review) as connection:
        events = read_label_events(connection, [user], (START + 2 * DAY).date())
    next_payment: Transaction = {**LATE, "transaction_id": "next", "timestamp": START + 2 * DAY}
    assert looked_up(LabelLookup.of(user, events), [next_payment]) == [{"labelled": 1}]


LATE: Transaction = {
    "transaction_id": "late",
    "user_id": "u1",
    "timestamp": START + DAY / 2,
    "amount": 1.0,
    "merchant_id": "m1",
    "device_fingerprint": "d1",
    "country": None,
}


def differing_days(
    before: tuple[Sequence[Transaction], Sequence[Label]],
    after: tuple[Sequence[Transaction], Sequence[Label]],
    entity: EntityPlan,
) -> set[date]:
    """Days on which a row of ``before`` has another feature after than before."""
    rows = before[0]
    was, now = in_memory(*before)[entity.name], in_memory(*after)[entity.name][: len(rows)]
    return {row["timestamp"].date() for row, old, new in zip(rows, was, now, strict=True) if old != new}


@EXAMPLES
@given(rows=transactions(max_size=25), data=st.data())
def test_every_later_day_that_a_late_transaction_changes_is_named(
    empty: Warehouse, rows: list[Transaction], data: st.DataObject
) -> None:
    at = data.draw(st.sampled_from(rows))["timestamp"] + data.draw(st.sampled_from([DAY * 0, INSTANT, DAY]))
    late: Transaction = {**LATE, "timestamp": at}
    known = data.draw(labels(rows))
    of_late = data.draw(labels([late]))
    with holding(empty, [*rows, late], [*known, *of_late]) as connection:
        for entity in READ:
            named = outdated_days(connection, entity, frame([late]), at.date())
            changed = differing_days((rows, known), ([*rows, late], [*known, *of_late]), entity)
            assert {day for day in changed if day > at.date()} <= {*named}
            assert named == sorted(day for day in named if day > at.date())


@EXAMPLES
@given(rows=transactions(max_size=25), data=st.data())
def test_every_day_that_a_label_changes_is_named(
    empty: Warehouse, rows: list[Transaction], data: st.DataObject
) -> None:
    known = data.draw(labels(rows))
    of_one = data.draw(st.sampled_from(rows))["transaction_id"]
    rest = [label for label in known if label["transaction_id"] != of_one]
    new = label_frame([label for label in known if label["transaction_id"] == of_one])
    with holding(empty, rows, known) as connection:
        named = days_outdated_by_labels(connection, ENTITIES, new)
    changed = set().union(*(differing_days((rows, rest), (rows, known), entity) for entity in READ))
    assert changed <= {*named}
    assert all(day >= min(new["known_at"]).date() for day in named)


def named_days(
    warehouse: Warehouse, how: str, known: Sequence[Label], over: timedelta | int | None = None
) -> tuple[list[int], list[int]]:
    """How many days after the first transaction of a merchant the days lie that a change of it, and that labels, make
    outdated, where there is a payment a day for 60 days."""
    options = {
        "fraud_rate": {"delay_days": 7.0, "weight": 1.0, "prior": 0.1},
        "last_labels": {"delay_days": 7.0, "days": 3.0},
    }.get(how, {})
    merchant = EntityPlan("merchant", ("merchant_id",), (Aggregate("value", how, over=over, options=options),))
    daily: list[Transaction] = [
        {**LATE, "transaction_id": str(day), "timestamp": LATE["timestamp"] + day * DAY, "merchant_id": merchant_id}
        for merchant_id, days in [("m1", range(60)), ("m2", range(60, 70))]
        for day in days
    ]
    with holding(warehouse, daily, known) as connection:
        changed = outdated_days(connection, merchant, frame(daily[:1]), days_of(daily)[0])
        labelled = days_outdated_by_labels(connection, [merchant], label_frame(list(known)))
    return [(day - START.date()).days for day in changed], [(day - START.date()).days for day in labelled]


def verdict(known_at: datetime, *, fraud: bool) -> list[Label]:
    return [{"transaction_id": "0", "source": "chargeback", "actual_fraud": fraud, "known_at": known_at}]


@pytest.mark.parametrize(
    ("how", "over", "changed", "labelled"),
    [
        ("fraud_count", 3 * DAY, [1, 2, 3], [2]),
        ("fraud_count", 1.5 * DAY, [1, 2], []),
        ("fraud_rate", 3 * DAY, [*range(1, 11)], [*range(2, 10)]),
        ("days_since_fraud", None, [*range(1, 60)], [*range(2, 60)]),
        ("days_since_first_fraud", 3 * DAY, [1, 2, 3], [2]),
        ("last_labels", 2, [*range(1, 11)], [*range(2, 10)]),
    ],
)
def test_no_day_is_named_that_no_window_reaches(
    empty: Warehouse, how: str, over: timedelta | int | None, changed: list[int], labelled: list[int]
) -> None:
    # All payments are at noon: of the last day that a window reaches into, the payment is just outside.
    assert named_days(empty, how, verdict(START + 2 * DAY, fraud=True), over) == (changed, labelled)


def test_no_fraud_outdates_no_recency(empty: Warehouse) -> None:
    assert named_days(empty, "days_since_fraud", verdict(START + 2 * DAY, fraud=False)) == ([], [])


def test_a_label_in_time_outdates_nothing(empty: Warehouse) -> None:
    assert named_days(empty, "fraud_count", verdict(START + 80 * DAY, fraud=True), 3 * DAY)[1] == []
    with empty.connect(read_only=True) as connection:
        assert days_outdated_by_labels(connection, ENTITIES, label_frame([])) == []
