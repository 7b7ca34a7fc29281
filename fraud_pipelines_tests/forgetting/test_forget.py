"""A person is forgotten: no byte below the data directory names them, and the log's chain goes on."""

import gzip
import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.bootstrap import warehouse_of
from fraud_pipelines.defs.metadata import MASK
from fraud_pipelines.forgetting.files import holds
from fraud_pipelines.forgetting.person import Person
from fraud_pipelines.plan.tokens import Tokens
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.redaction import redact_database
from fraud_pipelines.streaming.drain import drain
from fraud_pipelines.streaming.session import StreamSession
from fraud_pipelines.transactions.simulator import SimulationConfig, simulate
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.examples import examples

CANARY = "CANARY-Ünal-77"
AMOUNT = "98765.43"
TODAY = datetime.now(UTC).date()
FIRST, LAST = TODAY - timedelta(days=4), TODAY - timedelta(days=2)
KEY = "canary-key-of-more-than-thirty-two-characters"
KNOWN_ONLY_TO_TABLES = (".duckdb", ".parquet")


def payments(*, name: str = CANARY) -> pl.DataFrame:
    """Three days of traffic, in which the canary pays each day, once too much and once wrongly."""
    config = SimulationConfig(first_day=FIRST, days=3, users=30, transactions_per_day=120)
    rows = simulate(config).transactions
    person = rows.item(0, "user_id")
    rows = rows.with_columns(pl.col("amount").cast(pl.String), user_id=pl.col("user_id").replace(person, name))
    assert (rows["user_id"] == name).sum() > 3
    wrong = rows.filter(pl.col("user_id") == name).head(1)
    wrong = wrong.with_columns(transaction_id=pl.lit("t-wrong"), amount=pl.lit(f"-{AMOUNT}x"))
    return pl.concat([rows, wrong])


def used(data_dir: Path, **environment: str) -> tuple[Installation, str]:
    """An installation in which the canary was imported, run, streamed, listed, reviewed; and all that was printed."""
    installation = Installation(data_dir)
    reason = "asked" if environment else f"asked about {CANARY}"  # what people write is theirs

    def do(*arguments: str, succeeds: bool = True) -> str:
        return installation.invoke(*arguments, succeeds=succeeds, **environment)

    landing = data_dir / "landing"
    (landing / "transactions").mkdir(parents=True)
    rows = payments()
    file = data_dir.parent / "payments.csv"
    rows.write_csv(file)
    told = do("import", str(file))
    rows.head(20).write_csv(landing / "transactions" / "again.csv")
    told += do("lists", "add", "watch", "user_id", CANARY, "--reason", reason, "--by", "ann")
    told += do("run", "--from", str(LAST), "--to", str(LAST), "--with-earlier")
    streamed = rows.filter(pl.col("user_id") == CANARY).head(3)
    streamed = streamed.with_columns(transaction_id=pl.format("s-{}", "transaction_id"))
    (landing / "stream").mkdir(exist_ok=True)
    streamed.write_ndjson(landing / "stream" / "s.jsonl")
    with mock.patch.dict(os.environ, installation.environment | environment, clear=True):
        settings = Settings.from_environment()
        registry = ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root)
        session = StreamSession(warehouse_of(settings), registry, settings)
        assert drain(session, settings.landing_stream, clock=lambda: datetime.now(UTC).replace(tzinfo=None)).accepted
    unreadable = landing / "stream" / "_unreadable" / "bad.csv"
    unreadable.parent.mkdir(parents=True, exist_ok=True)
    unreadable.write_bytes(f"no,header\n{CANARY}".encode())
    return installation, told


def review(installation: Installation) -> None:
    """A verdict whose comment names the canary, as Dagster's log of an earlier release named it."""
    payment = installation.warehouse.read("SELECT min(transaction_id) FROM raw.transactions").item()
    labels = installation.data_dir.parent / "labels.csv"
    labels.write_text(
        "transaction_id,actual_fraud,source,known_at,reviewer,comment\n"
        f"{payment},false,review,{TODAY - timedelta(days=1)},ann,same phone as {CANARY}\n"
        f"t-unknown,true,review,{TODAY},ann,{CANARY}\n",
        encoding="utf-8",
    )
    installation.invoke("import", str(labels), "--labels")


@pytest.fixture(scope="module")
def forgotten(tmp_path_factory: pytest.TempPathFactory) -> tuple[Installation, str]:
    installation, _ = used(tmp_path_factory.mktemp("forget") / "data")
    review(installation)
    with closing(sqlite3.connect(installation.settings.dagster_home / "history" / "runs" / "index.db")) as log:
        shown = [json.dumps(text)[1:-1] for text in (MASK, CANARY)]
        assert log.execute("UPDATE event_logs SET event = replace(event, ?, ?)", shown).rowcount > 0
        log.commit()
        assert log.execute("SELECT count(*) FROM event_logs WHERE instr(event, ?)", shown[1:]).fetchone()[0] > 0
    return installation, installation.invoke("forget", CANARY)


def everything(installation: Installation) -> str:
    """All rows of all tables as text."""
    with installation.warehouse.connect(read_only=True) as connection:
        tables = connection.tables()
    return "\n".join(str(installation.warehouse.read(f"SELECT * FROM {table}").rows()) for table in tables)


def files_that_hold(folder: Path, *names: str) -> list[str]:
    person = Person(frozenset(names))
    return [path.name for path in sorted(folder.rglob("*")) if path.is_file() and holds(path, person)]


@pytest.mark.slow
def test_no_byte_names_who_was_forgotten(forgotten: tuple[Installation, str]) -> None:
    installation, told = forgotten
    assert files_that_hold(installation.data_dir, CANARY) == []
    assert CANARY not in everything(installation)
    for part in ("raw.transactions", "features.user_history", "decision_revisions", "_landed/", "bad.csv"):
        assert part in told
    assert "Still names" not in told
    assert not [path for path in installation.data_dir.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]


@pytest.mark.slow
def test_the_log_is_as_it_was_written_but_for_what_was_forgotten(forgotten: tuple[Installation, str]) -> None:
    installation, _ = forgotten
    told = installation.invoke("audit")
    assert "Nothing was changed" in told
    assert "of people who were forgotten" in told
    entries = installation.warehouse.read("SELECT * FROM scoring.decision_revisions WHERE action = 'forgotten'")
    assert entries.height > 0
    nulls = entries.select("score", "reason", "reason_codes", "model_versions").null_count()
    assert nulls.row(0) == (entries.height,) * 4
    with installation.warehouse.transaction() as connection:
        connection.update(
            "scoring.decision_revisions",
            "action = 'forgotten'",
            "sequence = 1 + (SELECT min(sequence) FROM scoring.decision_revisions WHERE action = 'decided')",
        )
    assert "main.forgotten notes" in installation.invoke("audit", succeeds=False)


@pytest.mark.slow
def test_others_stay(forgotten: tuple[Installation, str]) -> None:
    installation, _ = forgotten
    rows = installation.warehouse.read("SELECT count(*) AS n, count(DISTINCT user_id) AS users FROM raw.transactions")
    assert rows.row(0)[1] > 20
    comments = installation.warehouse.read("SELECT comment FROM feedback.labels WHERE comment IS NOT NULL")
    assert comments["comment"].to_list() in ([], ["same phone as [forgotten]"])


@pytest.mark.slow
def test_with_a_key_nothing_ever_holds_the_id(tmp_path: Path) -> None:
    installation, told = used(tmp_path / "data", FRAUD_PII_KEY=KEY)
    assert CANARY not in everything(installation)
    assert Tokens(KEY.encode()).of(CANARY) in everything(installation)
    held = files_that_hold(installation.data_dir, CANARY)
    assert {*held} <= {"again.csv", "s.jsonl", "bad.csv"}, held  # what came in lies where it landed
    assert files_that_hold(installation.data_dir, KEY) == []
    assert KEY not in told
    assert AMOUNT not in told
    assert CANARY not in told.replace(f"user_id {CANARY}", "")
    done = installation.invoke("forget", Tokens(KEY.encode()).of(CANARY), FRAUD_PII_KEY=KEY)
    assert "again.csv" in done  # found by the delivery that brought the person, whose id a token doesn't tell
    assert Tokens(KEY.encode()).of(CANARY) not in everything(installation)


@given(
    name=st.text(st.characters(exclude_categories=("C", "Z")), min_size=3, max_size=12),
    before=st.text(max_size=8),
    after=st.text(max_size=8),
)
@examples(50)
def test_a_redacted_text_names_nobody(name: str, before: str, after: str) -> None:
    person = Person(frozenset({name}))
    if name.isdigit() or name in "[forgotten]":
        return
    redacted = person.redacted(f"{before} {name} {after}")
    assert f" {name} " not in redacted


def test_short_numbers_are_replaced_only_where_they_are_ids() -> None:
    person = Person(frozenset({"12"}))
    assert person.redacted('{"rows": 12, "user": "12", "preview": "| a | 12 | 12.5 |"}') == (
        '{"rows": 12, "user": "[forgotten]", "preview": "| a | [forgotten] | 12.5 |"}'
    )


def test_a_database_keeps_nothing_in_free_pages(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE events (event TEXT, body BLOB)")
        rows = [(f"of {CANARY} {n}", CANARY.encode()) for n in range(99)]
        database.executemany("INSERT INTO events VALUES (?, ?)", rows)
        database.execute("DELETE FROM events WHERE rowid > 50")
        database.commit()
    person = Person(frozenset({CANARY}))
    assert redact_database(path, person.is_in, person.redacted) == 100
    assert not person.is_in(path.read_bytes())
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT event FROM events").fetchone() == ("of [forgotten] 0",)


def test_packed_files_are_looked_into(tmp_path: Path) -> None:
    person = Person(frozenset({CANARY}))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(CANARY.encode()))
    pl.DataFrame({"user_id": [CANARY, "other"]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"user_id": ["other"]}).write_parquet(tmp_path / "b.parquet")
    assert [path.name for path in sorted(tmp_path.iterdir()) if holds(path, person)] == ["a.csv.gz", "a.parquet"]
