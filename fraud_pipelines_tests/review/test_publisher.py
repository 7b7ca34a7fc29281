"""What the page stores is published in the background, and at the latest when the page ends."""

import threading
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from fraud_pipelines.review.publisher import Publisher
from fraud_pipelines.storage import publication as module
from fraud_pipelines.storage.publication import INTERVAL_SECONDS, Publication
from fraud_pipelines.storage.warehouse import Warehouse


class Watched(Publication):
    """Says when it has published."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "warehouse" / "live.duckdb", folder / "fraud.duckdb", wait_seconds=10)
        self.published_once = threading.Event()

    def publish_or_tell(self) -> bool:
        done = super().publish_or_tell()
        self.published_once.set()
        return done


def store(publication: Publication, day: int) -> None:
    with Warehouse(publication.live).transaction() as connection:
        connection.execute("INSERT INTO raw.stale_days VALUES (DATE '2026-10-01' + ?, 'late', now())", [day])


def published(publication: Publication) -> int:
    with duckdb.connect(str(publication.published), read_only=True) as connection:
        return int(connection.execute("SELECT count(*) FROM raw.stale_days").fetchall()[0][0])


def test_at_once_where_it_is_due_and_else_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publication = Watched(tmp_path)
    Warehouse(publication.live).initialise()
    publication.publish()
    now = module._now() + timedelta(seconds=INTERVAL_SECONDS)
    monkeypatch.setattr(module, "_now", lambda: now)
    with Publisher(publication) as publisher:
        store(publication, 1)
        publisher.stored()
        assert publication.published_once.wait(60)
        assert published(publication) == 1

        publication.published_once.clear()
        store(publication, 2)
        publisher.stored()
        assert publication.due_in() == INTERVAL_SECONDS
        assert published(publication) == 1
    assert published(publication) == 2
