"""Histories of releases that kept an entity's past in columns of their own.

They hold less than the features of today look back on, so that they can't be continued: they are dropped, and their
entities start cold (`cold_start`) until ``fraud-pipelines features rebuild`` has folded the stored transactions.
"""

from fraud_pipelines.features.program import programs
from fraud_pipelines.features.tables import history_table
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.connection import Connection, columns_of


def drop_earlier_histories(connection: Connection) -> None:
    """Drop each history of such a release. Those of the stream are built anew from those of the latest derived day."""
    for program in programs(shipped_plan()):
        for table in (history_table(program.entity), f"streaming.{program.entity.name}_history"):
            if _is_earlier(connection, table):
                connection.drop_table(table)
                connection.delete("features.entity_starts", "entity = ?", [program.entity.name])
                if table.startswith("streaming."):
                    connection.delete("streaming.history_base", "true")


def _is_earlier(connection: Connection, table: str) -> bool:
    columns = columns_of(connection, table)
    return bool(columns) and "state" not in columns
