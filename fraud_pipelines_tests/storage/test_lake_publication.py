"""What people open beside a lake: views over the files of its last snapshot."""

from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest

from fraud_pipelines.storage.opening import publication_at, warehouse_at
from fraud_pipelines.storage.publication import Publication
from fraud_pipelines.storage.warehouse import Warehouse

DAY = date(2026, 10, 1)
DRIFT = "monitoring.feature_drift"


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    lake = warehouse_at(tmp_path / "lake")
    lake.initialise()
    return lake


@pytest.fixture
def publication(lake: Warehouse, tmp_path: Path) -> Publication:
    return publication_at(lake.path, tmp_path / "fraud.duckdb")


def write(lake: Warehouse, psi: float) -> None:
    rows = pl.DataFrame({"event_date": [DAY], "feature": ["amount"], "psi": [psi]})
    lake.overwrite(DRIFT, rows, event_date=DAY)


def test_the_published_file_has_the_tables_views_and_words_of_the_lake(
    lake: Warehouse, publication: Publication
) -> None:
    write(lake, 0.1)

    assert publication.publish()

    with duckdb.connect(str(publication.published), read_only=True) as opened:
        assert opened.execute(f"SELECT event_date, feature, psi FROM {DRIFT}").fetchall() == [(DAY, "amount", 0.1)]
        assert opened.execute("SELECT count(*) FROM scoring.review_queue").fetchall() == [(0,)]
        query = "SELECT comment FROM duckdb_columns() WHERE (table_name, column_name) = ('decision_chain', 'channel')"
        assert opened.execute(query).fetchall() == [("batch or stream: who appended.",)]
        assert opened.execute("SELECT source FROM main.publication").fetchall() == [(str(lake.path),)]


def test_it_is_made_anew_where_more_was_stored_and_who_has_it_open_keeps_what_was(
    lake: Warehouse, publication: Publication
) -> None:
    write(lake, 0.1)
    publication.settle()
    assert publication.is_current()
    assert not publication.publish()

    with duckdb.connect(str(publication.published), read_only=True) as opened:
        write(lake, 0.2)
        assert not publication.is_current()
        assert publication.publish()
        assert opened.execute(f"SELECT psi FROM {DRIFT}").fetchall() == [(0.1,)]

    with duckdb.connect(str(publication.published), read_only=True) as opened:
        assert opened.execute(f"SELECT psi FROM {DRIFT}").fetchall() == [(0.2,)]


def test_where_there_is_no_lake_nothing_is_published(tmp_path: Path) -> None:
    publication = publication_at(tmp_path / "lake", tmp_path / "fraud.duckdb")

    publication.settle()

    assert not publication.publish()
    assert list(tmp_path.iterdir()) == []
