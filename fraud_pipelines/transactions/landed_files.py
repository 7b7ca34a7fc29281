"""Landed files: what was taken in and moved to ``_landed``, kept for as many days as the settings say."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fraud_pipelines.storage.pruned import Pruned
from fraud_pipelines.transactions.landing_zone import LANDED_FOLDER


def prune_landed(zones: Iterable[Path], *, kept_days: int, now: datetime, dry_run: bool) -> Pruned:
    """Remove landed files that were moved there more than ``kept_days`` ago, and the folders that this empties.

    Their rows are in the warehouse, and the hash of their content is, too: delivered again, they still count once.
    Files that could not be read stay, since nothing else holds what is in them.

    Args:
        zones: the landing zones; one that is missing holds nothing.
        now: naive UTC.
    """
    before = (now - timedelta(days=kept_days)).replace(tzinfo=UTC).timestamp()
    count = size = 0
    for zone in zones:
        # From the innermost folder on, so that one is looked at when what was in it is gone.
        for path in sorted(zone.glob(f"**/{LANDED_FOLDER}/**/*"), reverse=True):
            found = path.lstat()
            if path.is_dir() and not path.is_symlink():
                if not dry_run and found.st_mtime < before and not any(path.iterdir()):
                    path.rmdir()
            elif found.st_ctime < before:  # A rename keeps the time of the content, and sets this one.
                count, size = count + 1, size + found.st_size
                if not dry_run:
                    path.unlink()
    return Pruned("landed files", kept_days, count, size)
