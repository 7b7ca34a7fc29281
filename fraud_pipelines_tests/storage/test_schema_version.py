"""The version of the schema: a file of an earlier release comes up whole and once, one of a newer is refused."""

import shutil
import zipfile
from pathlib import Path

import duckdb
import pytest

from fraud_pipelines.bootstrap import open_existing_warehouse, open_warehouse
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage import schema_version
from fraud_pipelines.storage.schema_version import migrations
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.conftest import Installation, assert_same_content, warehouse_content

EARLIER = Path(__file__).with_name("earlier") / "before_schema_versions.zip"
"""Three days of the demo with eight users, as the release before schema versions left them."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A warehouse of the release before schema versions."""
    with zipfile.ZipFile(EARLIER) as archive:
        return Path(archive.extract("fraud.duckdb", tmp_path))


def version(path: Path) -> list[tuple[object, ...]]:
    return Warehouse(path).read("SELECT version FROM main.schema_version").rows()


def structure(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Columns of every table with their types, constraints and comments; views; macros."""
    warehouse = Warehouse(path)
    return {
        "columns": warehouse.read(
            "SELECT schema_name, table_name, column_name, data_type, is_nullable, comment FROM duckdb_columns() "
            "WHERE NOT internal ORDER BY ALL"
        ).rows(),
        "views": warehouse.read(
            "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
        ).rows(),
        "macros": warehouse.read(
            "SELECT schema_name, function_name, macro_definition FROM duckdb_functions() "
            "WHERE NOT internal ORDER BY ALL"
        ).rows(),
    }


def test_an_earlier_file_comes_up_with_all_it_held_and_is_kept_aside(old: Path) -> None:
    before = warehouse_content(Warehouse(old))
    assert "main.schema_version" not in before

    open_warehouse(old, plan=shipped_plan(), wait_seconds=5)

    after = warehouse_content(Warehouse(old))
    assert version(old) == [(len(migrations()),)]
    kept = {
        table: rows.select(column for column in rows.columns if column in after[table].columns)
        for table, rows in before.items()
        if table in after
    }
    assert kept.keys() == before.keys()
    # What was kept of entities is less than the features of today look back on: a rebuild folds it anew.
    for entity in ("user", "device", "merchant"):
        assert kept.pop(f"features.{entity}_history").height > 0
        assert after[f"features.{entity}_history"].is_empty()
    assert_same_content(kept, {table: after[table].select(rows.columns) for table, rows in kept.items()})
    aside = old.with_name("fraud.schema-0.duckdb")
    with duckdb.connect(str(aside), read_only=True) as connection:
        rows = {table: connection.sql(f"FROM {table}").pl().height for table in before}
    assert rows == {table: content.height for table, content in before.items()}


def test_an_earlier_file_becomes_what_a_new_one_is(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new" / "fraud.duckdb"
    for path in (old, new):
        open_warehouse(path, plan=shipped_plan(), wait_seconds=5)

    assert structure(old) == structure(new)
    assert version(old) == version(new) == [(len(migrations()),)]
    assert list(new.parent.iterdir()) == [new], "a new file has nothing to keep aside"


def test_what_is_up_to_date_is_not_written_to(old: Path) -> None:
    open_warehouse(old, plan=shipped_plan(), wait_seconds=5)
    before = old.stat().st_mtime_ns
    with duckdb.connect(str(old), read_only=True):  # a shell that reads, which a writer would have to wait for
        open_warehouse(old, plan=shipped_plan(), wait_seconds=0.1)

    assert old.stat().st_mtime_ns == before


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_of_a_newer_release_is_refused(old: Path, read_only: bool) -> None:
    open_warehouse(old, plan=shipped_plan(), wait_seconds=5)
    with duckdb.connect(str(old)) as connection:
        connection.execute("UPDATE main.schema_version SET version = 999")

    newer = pytest.raises(InvalidInput, match=r"newer release.*version 999, and this release knows")
    with newer, Warehouse(old).connect(read_only=read_only):
        pass
    with pytest.raises(InvalidInput, match="newer release"):
        open_warehouse(old, plan=shipped_plan(), wait_seconds=5)


def test_each_migration_is_applied_once_and_all_or_nothing(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(schema_version.MIGRATIONS, folder)
    done = len(migrations())
    (folder / f"{done + 1:03}_count.sql").write_text("ALTER TABLE raw.stale_days ADD COLUMN n INTEGER DEFAULT 1")
    (folder / f"{done + 2:03}_more.sql").write_text("UPDATE raw.transactions SET amount = amount + 1")
    monkeypatch.setattr(schema_version, "migrations", lambda: migrations(folder))
    total = "SELECT count(*), sum(amount) FROM raw.transactions"
    ((rows, amount),) = Warehouse(old).read(total).rows()

    for _ in range(2):
        Warehouse(old).initialise()
        assert Warehouse(old).read(total).rows() == [(rows, pytest.approx(amount + rows))]

    (folder / f"{done + 3:03}_more.sql").write_text("UPDATE raw.transactions SET amount = 0")
    (folder / f"{done + 4:03}_wrong.sql").write_text("ALTER TABLE raw.transactions DROP COLUMN not_there")
    migrations.cache_clear()
    wrong = rf"version {done + 4} of its schema \({done + 4:03}_wrong\).*The file is as it was"
    with pytest.raises(InvalidInput, match=wrong):
        Warehouse(old).initialise()
    assert version(old) == [(done + 2,)]
    assert Warehouse(old).read(total).rows() == [(rows, pytest.approx(amount + rows))]
    assert (old.parent / f"fraud.schema-{done + 2}.duckdb").exists()


def test_without_room_for_the_copy_nothing_is_changed(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = warehouse_content(Warehouse(old))
    monkeypatch.setenv("PATH", "")

    with pytest.raises(InvalidInput, match=r"copied to fraud\.schema-0\.duckdb.*Make room"):
        open_warehouse(old, plan=shipped_plan(), wait_seconds=5)

    assert_same_content(before, warehouse_content(Warehouse(old)))
    assert list(old.parent.iterdir()) == [old]


def test_a_migration_is_numbered_without_a_gap(tmp_path: Path) -> None:
    for name in ("001_one.sql", "003_three.sql"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"without a gap, not 001_one\.sql, 003_three\.sql"):
        migrations(tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("review", "list"),
        ("audit",),
        ("evaluate", "--from", "2026-11-24", "--to", "2026-11-25"),
        ("compare", "--from", "2026-11-24", "--to", "2026-11-25"),
    ],
)
def test_who_only_reads_an_earlier_file_is_served(
    installation: Installation, old: Path, command: tuple[str, ...]
) -> None:
    installation.data_dir.mkdir()
    old.rename(installation.settings.published_path)

    assert installation.invoke(*command)


def test_to_open_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="fraud-pipelines demo"):
        open_existing_warehouse(tmp_path / "fraud.duckdb", plan=shipped_plan(), wait_seconds=1)
    assert not list(tmp_path.iterdir())
