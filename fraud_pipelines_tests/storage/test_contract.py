"""What every warehouse promises, held by the file and by the lake: tables by their names, whole transactions."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.storage.connection import (
    Column,
    Connection,
    add_columns,
    columns_of,
    create_table,
    describe,
    insert,
    overwrite,
    registered,
    select,
    table_exists,
)
from fraud_pipelines.storage.integrity import KeyDefects, count_rows, key_defects
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.examples import examples

DAY, NEXT = date(2026, 10, 1), date(2026, 10, 2)
DRIFT = "monitoring.feature_drift"
NAMES = {"duckdb": "fraud.duckdb", "lake": "lake"}


@pytest.fixture(params=NAMES)
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    warehouse = warehouse_at(tmp_path / NAMES[request.param], wait_seconds=20)
    warehouse.initialise()
    return warehouse


def drift(day: date, **psi: float) -> pl.DataFrame:
    return pl.DataFrame({"event_date": day, "feature": list(psi), "psi": list(psi.values())})


def stored(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return warehouse.read(f"SELECT event_date, feature, psi FROM {DRIFT} ORDER BY ALL").rows()


def test_to_initialise_again_keeps_what_is_there(warehouse: Warehouse) -> None:
    warehouse.overwrite(DRIFT, drift(DAY, amount=0.1), event_date=DAY)

    warehouse.initialise()
    warehouse.initialise(declared="more", make_declared=lambda connection: connection.add_column(DRIFT, "n", "INTEGER"))

    assert stored(warehouse) == [(DAY, "amount", 0.1)]
    assert warehouse.read(f"SELECT n FROM {DRIFT}").rows() == [(None,)]


def test_overwrite_replaces_its_day_and_no_other(warehouse: Warehouse) -> None:
    for day in (DAY, NEXT):
        warehouse.overwrite(DRIFT, drift(day, amount=0.1, user_z=0.2), event_date=day)

    warehouse.overwrite(DRIFT, drift(DAY, amount=0.3), event_date=DAY)

    assert stored(warehouse) == [(DAY, "amount", 0.3), (NEXT, "amount", 0.1), (NEXT, "user_z", 0.2)]


def test_an_overwrite_without_condition_is_refused(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection, pytest.raises(InvalidInput, match="without a condition"):
        overwrite(connection, DRIFT, drift(DAY, amount=0.1))


def test_rows_are_deleted_and_changed_by_a_condition(warehouse: Warehouse) -> None:
    for day in (DAY, NEXT):
        warehouse.overwrite(DRIFT, drift(day, amount=0.1, user_z=0.2, hour=0.3), event_date=day)
    of = pl.DataFrame({"feature": ["user_z"], "factor": [10.0]})

    with warehouse.transaction() as connection:
        connection.delete(DRIFT, "feature = $feature AND event_date = $day", {"feature": "hour", "day": DAY})
        connection.update(DRIFT, "psi = $psi", "feature = $feature", {"psi": 9.0, "feature": "amount"})
        with registered(connection, _of=of):
            connection.update(
                DRIFT,
                "psi = psi * _of.factor",
                "stored.feature = _of.feature AND event_date = ?",
                [NEXT],
                using="_of",
            )
            connection.delete(DRIFT, "feature IN (SELECT feature FROM _of) AND event_date = ?", [DAY])
        inside = select(connection, f"SELECT event_date, feature, psi FROM {DRIFT} ORDER BY ALL").rows()

    after = [(DAY, "amount", 9.0), (NEXT, "amount", 9.0), (NEXT, "hour", 0.3), (NEXT, "user_z", 2.0)]
    assert inside == after
    assert stored(warehouse) == after


def test_a_query_is_appended_without_leaving_the_warehouse(warehouse: Warehouse) -> None:
    warehouse.overwrite(DRIFT, drift(DAY, amount=0.1), event_date=DAY)

    with warehouse.transaction() as connection:
        connection.append(DRIFT, f"SELECT * REPLACE (?::DATE AS event_date) FROM {DRIFT}", [NEXT])

    assert stored(warehouse) == [(DAY, "amount", 0.1), (NEXT, "amount", 0.1)]


def test_a_transaction_that_fails_stores_nothing(warehouse: Warehouse) -> None:
    warehouse.overwrite(DRIFT, drift(NEXT, amount=0.1), event_date=NEXT)

    def half_way() -> None:
        with warehouse.transaction() as connection:
            insert(connection, DRIFT, drift(DAY, amount=0.1))
            connection.delete(DRIFT, "true")
            connection.add_column(DRIFT, "bins", "INTEGER")
            connection.create_table("scoring.new", {"id": "VARCHAR"})
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        half_way()

    assert stored(warehouse) == [(NEXT, "amount", 0.1)]
    with warehouse.connect(read_only=True) as connection:
        assert "bins" not in columns_of(connection, DRIFT)
        assert not table_exists(connection, "scoring.new")
    warehouse.overwrite(DRIFT, drift(DAY, amount=0.2), event_date=DAY)
    assert stored(warehouse) == [(DAY, "amount", 0.2), (NEXT, "amount", 0.1)]


def test_what_is_rehearsed_is_seen_inside_and_never_stored(warehouse: Warehouse) -> None:
    with warehouse.rehearsal():
        warehouse.overwrite(DRIFT, drift(DAY, amount=0.1), event_date=DAY)
        assert stored(warehouse) == [(DAY, "amount", 0.1)]

    assert stored(warehouse) == []


def test_a_new_column_is_added_and_null_in_older_rows(warehouse: Warehouse) -> None:
    warehouse.overwrite(DRIFT, drift(DAY, amount=0.1), event_date=DAY)

    with warehouse.transaction() as connection:
        insert(connection, DRIFT, drift(DAY, hour=0.2))
        add_columns(connection, DRIFT, {"psi": pl.Float64(), "bins": pl.Int32()})
    warehouse.overwrite(DRIFT, drift(NEXT, amount=0.2).with_columns(bins=pl.lit(10)), event_date=NEXT)

    found = warehouse.read(f"SELECT event_date, psi, bins FROM {DRIFT} ORDER BY ALL").rows()
    assert found == [(DAY, 0.1, None), (DAY, 0.2, None), (NEXT, 0.2, 10)]


def test_views_see_new_columns_and_rows(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        connection.add_column("raw.transactions", "terminal", "VARCHAR")
        insert(connection, "raw.transactions", transaction("t-1").with_columns(terminal=pl.lit("x")))

    assert warehouse.read("SELECT terminal, kind FROM raw.payments").rows() == [("x", "payment")]


def test_a_table_is_made_described_and_dropped(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        create_table(connection, "scoring.new", {"id": pl.String(), "n": pl.List(pl.Int64)}, required=["id"])
        describe(connection, "scoring.new", {"id": "It's the id."})
        insert(connection, "scoring.new", pl.DataFrame({"id": ["a"], "n": [[1, 2]]}))
        views = "scoring.review_queue", "raw.payments"
        assert not {"scoring.new", DRIFT} - set(connection.tables())
        assert not set(views) & set(connection.tables())
    with warehouse.connect(read_only=True) as connection:
        assert connection.columns("scoring.new") == [
            Column("id", "VARCHAR", required=True, comment="It's the id."),
            Column("n", "BIGINT[]"),
        ]
        assert select(connection, "FROM scoring.new").rows() == [("a", [1, 2])]

    with warehouse.transaction() as connection:
        connection.drop_table("scoring.new")

    with warehouse.connect(read_only=True) as connection:
        assert not table_exists(connection, "scoring.new")
        with pytest.raises(duckdb.CatalogException):
            connection.execute("FROM scoring.new")


def test_rows_with_a_column_that_the_table_lacks_are_refused(warehouse: Warehouse) -> None:
    rows = drift(DAY, amount=0.1).with_columns(bins=pl.lit(10))

    with pytest.raises(duckdb.BinderException, match="bins"):
        warehouse.overwrite(DRIFT, rows, event_date=DAY)

    assert "bins" not in warehouse.read(f"FROM {DRIFT}").columns


@pytest.mark.parametrize("feature", [pytest.param(None, id="null")])
def test_a_null_where_none_may_be_is_refused(warehouse: Warehouse, feature: str | None) -> None:
    rows = drift(DAY, amount=0.1).with_columns(feature=pl.lit(feature, dtype=pl.String))

    with pytest.raises(duckdb.ConstraintException, match="feature"):
        warehouse.overwrite(DRIFT, rows, event_date=DAY)

    assert stored(warehouse) == []


def test_an_error_within_a_transaction_is_told_as_it_is(warehouse: Warehouse) -> None:
    rows = drift(DAY, amount=0.1).with_columns(psi=pl.lit("no number"))

    with pytest.raises(duckdb.ConversionException, match="no number"):
        warehouse.overwrite(DRIFT, rows, event_date=DAY)

    assert stored(warehouse) == []


def test_frames_are_tables_for_as_long_as_the_block_lasts(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        with registered(connection, _one=drift(DAY, amount=0.1), _other=drift(NEXT, amount=0.2)):
            both = "SELECT psi FROM (FROM _one UNION ALL FROM _other) ORDER BY 1"
            assert select(connection, both).rows() == [(0.1,), (0.2,)]
        with pytest.raises(RuntimeError, match="inside"), registered(connection, _one=drift(DAY, amount=0.1)):
            raise RuntimeError("inside")
        for name in ("_one", "_other"):
            with pytest.raises(duckdb.CatalogException, match=name):
                connection.execute(f"FROM {name}")


def test_a_connection_within_a_connection_is_the_same_and_closes_last(warehouse: Warehouse) -> None:
    with warehouse.connect(read_only=True) as outer:
        with warehouse.connect(read_only=True) as inner:
            assert inner is outer
        assert outer.execute("SELECT 1").fetchall() == [(1,)]
        with pytest.raises(RuntimeError, match="only reads"), warehouse.transaction():
            pass
    warehouse.overwrite(DRIFT, drift(DAY, amount=0.1), event_date=DAY)


@pytest.mark.parametrize("name", NAMES.values())
def test_to_read_from_a_warehouse_that_is_not_there_says_how_to_begin(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingData, match="fraud-pipelines demo, or fraud-pipelines import"):
        warehouse_at(tmp_path / "lock" / name, wait_seconds=0.1).read("SELECT 1")


def test_integrity_counts_rows_and_finds_broken_keys(warehouse: Warehouse) -> None:
    keys = pl.DataFrame({"id": ["a", "a", "b", None, "b"], "event_date": [DAY, DAY, DAY, DAY, NEXT]})
    with warehouse.transaction() as connection:
        create_table(connection, "scoring.keys", keys.schema, required=["event_date"])
        insert(connection, "scoring.keys", keys)

    with warehouse.connect(read_only=True) as connection:
        assert count_rows(connection, "scoring.keys", event_date=DAY) == 4
        assert key_defects(connection, "scoring.keys", ["id"], event_date=DAY) == KeyDefects(duplicated=1, null=1)
        assert not key_defects(connection, "scoring.keys", ["id"], event_date=NEXT)


def test_rows_come_in_the_order_in_which_they_were_stored(warehouse: Warehouse) -> None:
    for n in range(40):
        with warehouse.transaction() as connection:
            insert(connection, "raw.base_currency", pl.DataFrame({"currency": [f"{n}-{i}" for i in range(3)]}))

    found = warehouse.read("SELECT currency FROM raw.base_currency")["currency"].to_list()
    assert found == [f"{n}-{i}" for n in range(40) for i in range(3)]


DAYS = st.sampled_from([date(2026, 10, day) for day in range(1, 5)])
PLACES = st.sampled_from("abcd")
STEPS = st.one_of(
    st.tuples(st.just("insert"), DAYS, PLACES),
    st.tuples(st.just("overwrite"), DAYS, PLACES),
    st.tuples(st.just("delete"), DAYS, PLACES),
    st.tuples(st.just("delete_day"), DAYS, PLACES),
    st.tuples(st.just("update"), DAYS, PLACES),
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Warehouse]:
    folder = tmp_path_factory.mktemp("pair")
    pair = [warehouse_at(folder / name) for name in NAMES.values()]
    for each in pair:
        each.initialise()
    return pair


@examples(30)
@given(st.lists(st.tuples(st.lists(STEPS, max_size=4), st.booleans()), max_size=4))
def test_whatever_is_done_the_file_and_the_lake_hold_the_same(
    pair: list[Warehouse], transactions: list[tuple[list[tuple[str, date, str]], bool]]
) -> None:
    for warehouse in pair:
        with warehouse.transaction() as connection:
            connection.delete(DRIFT, "true")
        for steps, succeeds in transactions:
            _attempt(warehouse, steps, succeeds=succeeds)

    file, lake = (stored(warehouse) for warehouse in pair)
    assert file == lake


def _attempt(warehouse: Warehouse, steps: list[tuple[str, date, str]], *, succeeds: bool) -> None:
    try:
        with warehouse.transaction() as connection:
            for number, (step, day, place) in enumerate(steps):
                DO[step](connection, day, place, float(number))
            if not succeeds:
                raise RuntimeError("given up")
    except RuntimeError:
        assert not succeeds


DO: dict[str, Callable[[Connection, date, str, float], None]] = {
    "insert": lambda connection, day, place, psi: insert(connection, DRIFT, drift(day, **{place: psi})),
    "overwrite": lambda connection, day, place, psi: overwrite(
        connection, DRIFT, drift(day, **{place: psi}), event_date=day
    ),
    "delete": lambda connection, day, place, _: connection.delete(DRIFT, "feature = ?", [place]),
    "delete_day": lambda connection, day, place, _: connection.delete(DRIFT, "event_date = ?", [day]),
    "update": lambda connection, day, place, psi: connection.update(
        DRIFT, "psi = psi + ?", "feature = ? AND event_date <= ?", [psi, place, day]
    ),
}


def transaction(transaction_id: str) -> pl.DataFrame:
    at = pl.datetime(2026, 10, 1, 12)
    return pl.DataFrame(
        {"transaction_id": [transaction_id], "user_id": ["u"], "amount": [1.0], "source": ["s"]}
    ).select(pl.all(), at.alias("timestamp"), at.dt.date().alias("event_date"), at.alias("ingested_at"))
