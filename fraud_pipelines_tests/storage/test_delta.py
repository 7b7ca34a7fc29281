"""What the lake needs of deltalake, so that a release that differs is noticed here."""

from pathlib import Path

import polars as pl
import pytest


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    """A Delta table with two versions."""
    from deltalake import DeltaTable
    from deltalake.schema import Field, PrimitiveType, Schema

    fields = [Field("day", PrimitiveType("date")), Field("at", PrimitiveType("timestamp_ntz"))]
    DeltaTable.create(str(tmp_path / "t"), schema=Schema(fields), partition_by=["day"])
    return tmp_path / "t"


def test_a_stale_commit_without_tries_fails_and_one_that_succeeds_has_the_next_number(delta: Path) -> None:
    from deltalake import CommitProperties, DeltaTable
    from deltalake.exceptions import CommitFailedError
    from deltalake.transaction import AddAction

    def add(table: DeltaTable, name: str) -> None:
        action = AddAction(f"day=2026-10-01/{name}", 1, {"day": "2026-10-01"}, 0, True, '{"numRecords": 1}')
        table.create_write_transaction(
            [action],
            mode="append",
            schema=table.schema(),
            partition_by=["day"],
            commit_properties=CommitProperties(max_commit_retries=0),
        )

    one, other = DeltaTable(str(delta)), DeltaTable(str(delta))
    add(one, "a")
    with pytest.raises(CommitFailedError):
        add(other, "b")

    found = DeltaTable(str(delta))
    assert found.version() == 1
    assert pl.DataFrame(found.get_add_actions(flatten=True)).select("path", "num_records").rows() == [
        ("day=2026-10-01/a", 1)
    ]


def test_a_file_can_be_removed_and_come_back(delta: Path) -> None:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction, RemoveAction

    def commit(*actions: AddAction | RemoveAction) -> list[str]:
        found = DeltaTable(str(delta))
        found.create_write_transaction(list(actions), mode="append", schema=found.schema(), partition_by=["day"])
        return sorted(pl.DataFrame(DeltaTable(str(delta)).get_add_actions(flatten=True))["path"])

    files = [AddAction(f"day=2026-10-01/{name}", 1, {"day": "2026-10-01"}, 0, True, "{}") for name in "ab"]
    assert commit(*files) == ["day=2026-10-01/a", "day=2026-10-01/b"]
    assert commit(RemoveAction("day=2026-10-01/a", True, 1)) == ["day=2026-10-01/b"]
    assert commit(files[0]) == ["day=2026-10-01/a", "day=2026-10-01/b"]
    assert sorted(pl.DataFrame(DeltaTable(str(delta), version=2).get_add_actions(flatten=True))["path"]) == [
        "day=2026-10-01/b"
    ]
