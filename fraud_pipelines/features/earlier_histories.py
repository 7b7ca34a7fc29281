"""Histories of releases that kept an entity's past in columns of their own.

They hold less than the features of today look back on, so that they can't be continued: they are dropped, and their
entities start cold (`cold_start`) until ``fraud-pipelines features rebuild`` has folded the stored transactions.
"""

import duckdb

from fraud_pipelines.features.program import programs
from fraud_pipelines.features.tables import history_table, table_exists
from fraud_pipelines.plan.compile import shipped_plan


def drop_earlier_histories(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop each history of such a release. Those of the stream are built anew from those of the latest derived day."""
    for program in programs(shipped_plan()):
        for table in (history_table(program.entity), f"streaming.{program.entity.name}_history"):
            if _is_earlier(connection, table):
                connection.execute(f"DROP TABLE {table}")
                connection.execute("DELETE FROM features.entity_starts WHERE entity = ?", [program.entity.name])
                if table.startswith("streaming."):
                    connection.execute("DELETE FROM streaming.history_base")


def _is_earlier(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    if not table_exists(connection, table):
        return False
    columns = [name for (name, *_) in connection.execute(f"DESCRIBE {table}").fetchall()]
    return "state" not in columns
