"""A process that counts on in a lake: ``python -m … FOLDER NUMBER one|many``."""

import sys
from datetime import date, datetime
from pathlib import Path

import polars as pl

from fraud_pipelines.storage.connection import Connection, insert, select
from fraud_pipelines.storage.lake.warehouse import LakeWarehouse

ROUNDS = 5


def main(folder: str, number: str, writers: str) -> None:
    """Append the next number to a table without days, and a row to a day of this process."""
    lake = LakeWarehouse(Path(folder), one_writer=writers == "one", wait_seconds=60)

    def count(connection: Connection) -> None:
        last = select(connection, "SELECT coalesce(max(sequence), 0) FROM scoring.decision_chain").item()
        row = {"sequence": last + 1, "entries": 1, "channel": number, "head_hash": ""}
        insert(connection, "scoring.decision_chain", pl.DataFrame([row | {"appended_at": datetime(2026, 1, 1)}]))
        of_day = {"event_date": date(2026, 10, int(number) + 1), "feature": f"{number}-{last}", "psi": 0.0}
        insert(connection, "monitoring.feature_drift", pl.DataFrame([of_day]))

    for _ in range(ROUNDS):
        lake.retrying(count, tries=200)


if __name__ == "__main__":
    main(*sys.argv[1:])
