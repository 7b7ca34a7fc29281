"""Dagster's home: its storage keeps connections, and shares its files with Dagster's own."""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from unittest import mock

import dagster as dg
import pytest
import sqlalchemy
from dagster_shared.check import CheckError

from fraud_pipelines import bootstrap
from fraud_pipelines.bootstrap import DAGSTER_YAML, prepare_dagster_home
from fraud_pipelines.defs.instance_storage import KEPT_RUNS, Engines, KeptEventLogStorage


@dg.asset
def numbers(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    context.log.info("counted")
    return dg.MaterializeResult(metadata={"rows": 3})


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with mock.patch.dict(os.environ):
        prepare_dagster_home(tmp_path)
        yield tmp_path


def _run(instance: dg.DagsterInstance) -> str:
    return dg.materialize([numbers], instance=instance).run_id


def _seen(instance: dg.DagsterInstance) -> list[tuple[str, list[str]]]:
    """Every run's id and what its log says, and how often the asset was materialized."""
    materialized = instance.fetch_materializations(dg.AssetKey("numbers"), limit=100).records
    return [
        *sorted(
            (run.run_id, [entry.user_message for entry in instance.all_logs(run.run_id)]) for run in instance.get_runs()
        ),
        ("materialized", [record.run_id for record in materialized]),
    ]


def test_the_home_is_used_through_kept_connections(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, KeptEventLogStorage)
        with mock.patch(
            "fraud_pipelines.defs.instance_storage.create_engine", side_effect=sqlalchemy.create_engine
        ) as made:
            _run(instance)
        # One of the run's own database, and at most one each of the index and the runs.
        assert made.call_count <= 3


def test_dagsters_own_storage_reads_what_ours_wrote_and_the_other_way_round(home: Path) -> None:
    ours = (home / "dagster.yaml").read_text()
    before, _, after = ours.partition("storage:\n")
    assert after
    seen = []
    for text in (ours, before, ours):
        (home / "dagster.yaml").write_text(text)
        with dg.DagsterInstance.get() as instance:
            assert isinstance(instance.event_log_storage, KeptEventLogStorage) == (text == ours)
            _run(instance)
            seen.append(_seen(instance))
    with dg.DagsterInstance.get() as instance:
        assert _seen(instance) == seen[-1]
    for earlier, later in pairwise(seen):
        assert {run for run, _ in earlier} < {run for run, _ in later}
        assert all(entry in later for entry in earlier[:-1])


def test_a_runs_database_has_the_tables_and_the_revision_that_dagster_makes(home: Path) -> None:
    def content(run_id: str) -> list[tuple[str, ...]]:
        with sqlite3.connect(home / "history" / "runs" / f"{run_id}.db") as database:
            tables = database.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
            return tables + database.execute("SELECT * FROM alembic_version").fetchall()

    ours = (home / "dagster.yaml").read_text()
    made = []
    for text in (ours, ours.partition("storage:\n")[0]):
        (home / "dagster.yaml").write_text(text)
        with dg.DagsterInstance.get() as instance:
            made.append(content(_run(instance)))
    assert made[0] == made[1]


def test_all_that_a_run_is_planned_with_is_stored_in_one_transaction_or_not_at_all(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        assert isinstance(storage, KeptEventLogStorage)
        run_id = _run(instance)
        entries = instance.all_logs(run_id)
        copies = [entry._replace(run_id="another") for entry in entries]
        storage.store_event_batch(copies)
        assert [entry.dagster_event_type for entry in instance.all_logs("another")] == [
            entry.dagster_event_type for entry in entries
        ]
        with pytest.raises(CheckError):
            storage.store_event_batch([*copies, "no event"])  # type: ignore[list-item]
        assert len(instance.all_logs("another")) == len(entries)


def test_connections_of_runs_long_past_are_closed(tmp_path: Path) -> None:
    engines = Engines()
    addresses = [f"sqlite:///{tmp_path / str(number)}.db" for number in range(2 * KEPT_RUNS)]
    made = [engines.engine(address) for address in addresses]
    assert engines.engine(addresses[-1]) is made[-1]
    assert engines.engine(addresses[0]) is not made[0]


@pytest.mark.parametrize("edited", [True, False])
def test_a_configuration_of_an_earlier_release_is_replaced_unless_somebody_edited_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: bool
) -> None:
    earlier = "telemetry:\n  enabled: false\n"
    monkeypatch.setattr(bootstrap, "_EARLIER_YAML", {hashlib.sha256(earlier.encode()).hexdigest()})
    text = earlier + "# ours\n" * edited
    (tmp_path / "dagster.yaml").write_text(text)
    with mock.patch.dict(os.environ):
        prepare_dagster_home(tmp_path)
    assert (tmp_path / "dagster.yaml").read_text() == (text if edited else DAGSTER_YAML)
