"""Faults of disks, databases and files that people write: one message, no traceback, and nothing half done."""

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pytest

from fraud_pipelines.decisions.configuration import read_rules
from fraud_pipelines.decisions.webhook import WebhookError, post_text
from fraud_pipelines.errors import FraudPipelinesError, InvalidInput
from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.storage.faults import in_words, is_fault, store_errors
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.decisions.webhooks import webhook

DEEP = 4_000
TWICE = {
    "mapping.yaml": "columns: {user_id: a}\ncolumns: {user_id: b}\n",
    "rules.yaml": "rules: []\nrules: []\n",
    "fraud.yaml": "attributes:\n  a: {type: text}\n  a: {type: number}\n",
}
READ: dict[str, Callable[[Path], object]] = {
    "mapping.yaml": ColumnMapping.load,
    "rules.yaml": read_rules,
    "fraud.yaml": compile_plan,
}


@pytest.mark.parametrize("name", READ)
def test_a_key_twice_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(TWICE[name])
    with pytest.raises(FraudPipelinesError, match="twice"):
        READ[name](path)


@pytest.mark.parametrize("name", READ)
def test_what_is_nested_too_deeply_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("columns: " + "[" * DEEP + "]" * DEEP)
    with pytest.raises(FraudPipelinesError, match="nested too deeply"):
        READ[name](path)


@pytest.mark.parametrize("named", ["../secret.txt", "/etc/passwd"])
def test_a_file_of_values_lies_below_its_rules(tmp_path: Path, named: str) -> None:
    folder = tmp_path / "config"
    (folder / "lists").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("s3cret\n")
    (folder / "lists" / "users.txt").write_text("u1\n")
    rules = "rules: [{{name: r, decision: block, expires: 2030-01-01, when: {{user_id: {{in_file: {}}}}}}}]"
    (folder / "rules.yaml").write_text(rules.format("lists/users.txt"))
    assert read_rules(folder / "rules.yaml").rules[0].when["user_id"].any_of == ("u1",)
    (folder / "rules.yaml").write_text(rules.format(named))
    with pytest.raises(InvalidInput, match="lies elsewhere") as refused:
        read_rules(folder / "rules.yaml")
    assert "s3cret" not in str(refused.value)


def test_a_damaged_block_of_the_warehouse_is_told(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    settings = installation.settings
    warehouse = warehouse_at(settings.warehouse_path)
    warehouse.path.parent.mkdir(parents=True)
    warehouse.initialise()
    noise = pl.DataFrame({"a": [os.urandom(100).hex() for _ in range(20_000)]})
    with warehouse.transaction() as connection:
        connection.create_table("raw.noise", {"a": "VARCHAR"})
        connection.register("_noise", noise)
        connection.append("raw.noise", "SELECT * FROM _noise")
        connection.unregister("_noise")
    with warehouse.connect() as connection:
        connection.execute("CHECKPOINT")
    with settings.warehouse_path.open("r+b") as file:
        size = settings.warehouse_path.stat().st_size
        for place in range(size // 4, size, 65_536):
            file.seek(place)
            file.write(b"damaged " * 16)
    told = installation.invoke("sql", "SELECT max(a), sum(length(a)) FROM raw.noise", succeeds=False)
    assert "damaged" in told
    assert "restore" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "make room"),
        (duckdb.IOException("IO Error: Could not write file: No space left on device"), "make room"),
        (sqlite3.OperationalError("database or disk is full"), "make room"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "writable"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "writable"),
        (sqlite3.DatabaseError("database disk image is malformed"), "restore"),
    ],
)
def test_faults_of_disks_come_with_their_remedy(error: Exception, remedy: str) -> None:
    assert isinstance(error, store_errors())
    assert is_fault(error)
    assert not is_fault(duckdb.BinderException("no such column"))
    told = in_words(error)
    assert remedy in told
    assert "\n" not in told


def test_a_full_disk_ends_a_command_with_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "live.duckdb")

    monkeypatch.setattr("fraud_pipelines.cli.status.show_status", full)
    told = Installation(tmp_path / "data").invoke("status", succeeds=False)
    assert told.startswith("Error: ")
    assert "make room" in told


def test_a_webhook_that_answers_a_byte_at_a_time_is_left() -> None:
    with webhook("drip") as hook, pytest.raises(WebhookError, match="no whole answer"):
        post_text(hook.url, "text", timeout=0.2, tries=1)


def test_json_that_is_nested_too_deeply_is_set_aside(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    file = tmp_path / "deep.jsonl"
    row = '{"transaction_id": "t1", "user_id": "u", "timestamp": "2026-11-01T10:00:00", "amount": 5}\n'
    file.write_text(row + '{"transaction_id": ' + "[" * DEEP + "]" * DEEP + "}\n")
    told = installation.invoke("import", str(file))
    assert "Traceback" not in told
    assert installation.warehouse.read("SELECT count(*) FROM raw.transactions").item() == 1
    assert installation.warehouse.read("SELECT count(*) FROM raw.rejected_transactions").item() == 1
