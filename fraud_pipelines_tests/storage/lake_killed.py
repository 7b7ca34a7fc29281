"""A process that dies within a transaction, at a step of its commit: ``python -m … FOLDER STEP``."""

import os
import signal
import sys
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from fraud_pipelines.storage.connection import overwrite
from fraud_pipelines.storage.lake import delta
from fraud_pipelines.storage.lake.engine import FileWriter
from fraud_pipelines.storage.lake.manifests import Manifests
from fraud_pipelines.storage.lake.warehouse import LakeWarehouse

DAY = date(2026, 10, 1)


class Moments:
    """Counts what comes before and after the steps of a commit, and kills the process at the one that is wanted."""

    def __init__(self, wanted: int) -> None:
        self._left = wanted

    def pass_by(self, moment: str) -> None:
        """Go on, or die."""
        if not self._left:
            sys.stdout.write(f"{moment}\n")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def around(self, owner: object, name: str) -> None:
        """Watch a function."""
        act: Callable[..., Any] = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            self.pass_by(f"{name} before")
            answer = act(*arguments, **named)
            self.pass_by(f"{name} after")
            return answer

        setattr(owner, name, watched)


def main(folder: str, step: str) -> None:
    """Replace a day of two tables."""
    moments = Moments(int(step))
    moments.around(FileWriter, "write")
    moments.around(delta, "_commit")
    moments.around(Manifests, "put")
    with LakeWarehouse(Path(folder)).transaction() as connection:
        drift = pl.DataFrame([{"event_date": DAY, "feature": "a", "psi": 2.0}])
        stale = pl.DataFrame([{"event_date": DAY, "reason": "2", "marked_at": datetime(2026, 1, 1)}])
        overwrite(connection, "monitoring.feature_drift", drift, event_date=DAY)
        overwrite(connection, "raw.stale_days", stale, event_date=DAY)
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
