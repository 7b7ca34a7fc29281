"""Landed files go when they are old enough; what waits and what could not be read stays."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from fraud_pipelines.transactions.landed_files import prune_landed


def test_only_landed_files_go_once_they_are_old_enough(tmp_path: Path) -> None:
    stay = [tmp_path / "waits.csv", tmp_path / "_unreadable" / "broken.csv", tmp_path / "bank" / "mapping.yaml"]
    go = [tmp_path / "_landed" / "a.csv", tmp_path / "bank" / "_landed" / "deep" / "b.csv"]
    for path in (*stay, *go):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("12345")
    now = datetime.now(UTC).replace(tzinfo=None)

    def prune(days: float, *, dry_run: bool = False) -> tuple[int, int]:
        zones = [tmp_path, tmp_path / "missing"]
        pruned = prune_landed(zones, kept_days=60, now=now + timedelta(days=days), dry_run=dry_run)
        return pruned.count, pruned.bytes

    assert prune(59) == (0, 0)
    assert prune(61, dry_run=True) == (2, 10)
    assert all(path.exists() for path in go)
    assert prune(61) == (2, 10)
    assert prune(61) == (0, 0)
    assert not any(path.exists() for path in go)
    assert all(path.exists() for path in stay)
