"""Tokens in place of ids: the same histories and features, and no id in anything that is stored."""

import pickle
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraud_pipelines.decisions.entity_lists import list_columns
from fraud_pipelines.decisions.entity_search import search
from fraud_pipelines.decisions.labels import land_labels
from fraud_pipelines.decisions.payment_filters import read_filters
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.plan.compile import compile_plan, shipped_plan
from fraud_pipelines.plan.tokens import Tokens, is_token
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.landing import LandingReport, land_transactions
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.plan.files import problems_of, written

KEY = b"k" * 32
TOKENS = Tokens(KEY)
PLAN = compile_plan(pii_key=KEY)
NOW = datetime(2026, 6, 1)
HEADER = "id,customer,when,amount,email"
CONTENT = {"columns": {"transaction_id": "id", "user_id": "customer", "timestamp": "when"}}
MAPPING = ColumnMapping.validated(CONTENT, PLAN.attributes)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    return warehouse


def land(warehouse: Warehouse, *rows: str, mapping: ColumnMapping = MAPPING, name: str = "a.csv") -> LandingReport:
    path = warehouse.path.parent / name
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return land_transactions(warehouse, path, mapping, now=NOW)


def everything(warehouse: Warehouse) -> str:
    """All that is stored, as text."""
    with warehouse.connect(read_only=True) as connection:
        tables = connection.tables()
    return "\n".join(str(warehouse.read(f"SELECT * FROM {table}").rows()) for table in tables)


@given(value=st.text(min_size=1), other=st.text(min_size=1))
@examples(50)
def test_a_token_is_that_of_one_id_under_one_key(value: str, other: str) -> None:
    token = TOKENS.of(value)
    assert is_token(token)
    assert TOKENS.of(token) == token == TOKENS.of(f" {value} ")
    assert (TOKENS.of(other) == token) == (other.strip() == value.strip() or other.strip() == token)
    assert Tokens(b"x" * 32).of(value) != token or is_token(value.strip())


def test_the_key_is_not_shown_and_does_not_travel() -> None:
    assert "kkk" not in repr(PLAN)
    assert "kkk" not in repr(MAPPING)
    assert b"kkk" not in pickle.dumps(PLAN)
    assert pickle.loads(pickle.dumps(PLAN)) == shipped_plan()


def test_a_key_changes_no_version() -> None:
    plain = shipped_plan()
    assert PLAN.version == plain.version
    assert PLAN.version_of(plain.features) == plain.version_of(plain.features)


def test_nothing_that_is_stored_holds_an_id(warehouse: Warehouse) -> None:
    land(
        warehouse,
        "t1,CANARY-1,2026-05-01 10:00,12.50,canary@example.com",
        "t2,CANARY-1,2026-05-01 11:00,not a number,canary@example.com",
        'broken,CANARY-1,"',
    )
    rows = warehouse.read("SELECT transaction_id, user_id FROM raw.transactions")
    assert rows.rows() == [("t1", TOKENS.of("CANARY-1"))]
    quarantined = warehouse.read("SELECT reason, payload FROM raw.rejected_transactions ORDER BY row_number")
    assert quarantined.height == 2
    assert TOKENS.of("CANARY-1") in quarantined["payload"][0]
    assert "not kept" in quarantined["payload"][1]
    assert "canary" not in everything(warehouse).lower()


def test_rejected_labels_keep_what_is_read_of_them(warehouse: Warehouse) -> None:
    path = warehouse.path.parent / "labels.csv"
    path.write_text(
        "transaction_id,actual_fraud,source,known_at,customer\nt9,true,review,2026-05-02,CANARY-1\n", encoding="utf-8"
    )
    land_labels(warehouse, path, now=NOW, guarded=True)
    assert "t9" in warehouse.read("SELECT payload FROM feedback.rejected_labels").item()
    assert "CANARY" not in everything(warehouse)


def test_a_row_that_waited_is_taken_in_when_it_comes_again(warehouse: Warehouse) -> None:
    rows = ("t1,CANARY-1,2026-06-01 10:00,5,c@example.com", "t2,CANARY-1,2026-05-01 10:00,5,c@example.com")
    assert land(warehouse, *rows).rows_waiting == 1
    path = warehouse.path.parent / "a.csv"
    again = land_transactions(warehouse, path, MAPPING, now=datetime(2026, 6, 2))
    assert (again.rows_accepted, again.already_landed) == (1, True)
    assert warehouse.read("SELECT DISTINCT user_id FROM raw.transactions").item() == TOKENS.of("CANARY-1")
    assert warehouse.read("SELECT count(*) FROM raw.rejected_transactions").item() == 0


def test_a_row_that_waited_repeats_one_that_came_since(warehouse: Warehouse) -> None:
    land(warehouse, "t1,CANARY-1,2026-06-01 10:00,5,c@example.com")
    path = warehouse.path.parent / "b.csv"
    path.write_text(f"{HEADER}\nt1,CANARY-1,2026-06-01 10:00,5,d@example.com\n")
    land_transactions(warehouse, path, MAPPING, now=datetime(2026, 6, 2))
    [reason] = warehouse.read("SELECT reason FROM raw.rejected_transactions")["reason"]
    assert reason.startswith("duplicate")


def test_features_are_those_of_the_ids() -> None:
    times = [datetime(2026, 5, day, hour) for day in (1, 2, 3) for hour in (1, 9, 17)]
    rows = pl.DataFrame(
        {
            "transaction_id": [f"t{n}" for n in range(9)],
            "user_id": [f"u{n % 3}" for n in range(9)],
            "timestamp": times,
            "amount": [10.0 + n * n for n in range(9)],
            "device_fingerprint": [f"d{n % 2}" for n in range(9)],
        }
    )
    with_ids = compute_features(rows)[0]
    with_tokens = compute_features(rows.with_columns(TOKENS.column(rows["user_id"])))[0]
    assert_frame_equal(with_tokens.drop("user_id"), with_ids.drop("user_id"))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (shipped_plan().attributes, "FRAUD_PII_KEY is not set"),
        (compile_plan(pii_key=b"x" * 32).attributes, "another key"),
    ],
)
def test_another_key_is_refused(warehouse: Warehouse, attributes: object, message: str) -> None:
    land(warehouse, "t1,u1,2026-05-01 10:00,5,")
    other = ColumnMapping.validated(CONTENT, attributes)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=message):
        land(warehouse, "t2,u1,2026-05-01 11:00,5,", mapping=other, name="b.csv")
    assert warehouse.read("SELECT count(*) FROM raw.transactions").item() == 1


def test_a_key_is_refused_where_ids_are_stored(warehouse: Warehouse) -> None:
    land(warehouse, "t1,u1,2026-05-01 10:00,5,", mapping=ColumnMapping.validated(CONTENT))
    with pytest.raises(InvalidInput, match="no tokens"):
        land(warehouse, "t2,u1,2026-05-01 11:00,5,", name="b.csv")


def test_other_columns_are_tokenised_by_declaration(warehouse: Warehouse, tmp_path: Path) -> None:
    path = written(tmp_path, "attributes:\n  iban: {type: text}\ntokenise: [user_id, iban]\n")
    plan = compile_plan(path, pii_key=KEY)
    assert {*plan.tokens} == {"user_id", "iban"}
    assert not compile_plan(path).tokens
    assert {*list_columns(plan)} >= {"user_id", "iban"}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("tokenise: [nobody]", "nobody"),
        ("tokenise: [amount]", "can't be tokenised"),
        ("tokenise: [transaction_id]", "can't be tokenised"),
        ("tokenise: [1]", "expected a list of columns"),
    ],
)
def test_what_can_not_be_tokenised_is_told(tmp_path: Path, declared: str, message: str) -> None:
    [(line, key, told)] = problems_of(tmp_path, declared)
    assert (line, key) == (1, "tokenise")
    assert message in told


def test_people_look_up_by_id_and_by_token(warehouse: Warehouse) -> None:
    land(warehouse, "t1,CANARY-1,2026-05-01 10:00,5,", "t2,CANARY-2,2026-05-01 10:00,5,")
    token = TOKENS.of("CANARY-1")
    for asked in ("CANARY-1", token, token[:12]):
        assert [each.value for each in search(warehouse, PLAN, asked).found] == [token]
    assert not search(warehouse, PLAN, "CANARY").found
    assert read_filters({"by_user_id": "CANARY-1"}, PLAN).columns == (("user_id", token),)
