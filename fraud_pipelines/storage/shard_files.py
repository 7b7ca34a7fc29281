"""Cuts rows of the warehouse into shards: files of those whose key has the same hash."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import duckdb

from fraud_pipelines.errors import ShardFailed
from fraud_pipelines.storage.connection import Connection, Parameters
from fraud_pipelines.storage.row_files import COMPRESSION, RowFiles

SHARD: Final = "_shard"


def shard_sql(key: Sequence[str], shards: int) -> str:
    """The shard of a key: the same for equal keys, in whatever query of one run."""
    columns = ", ".join(f'"{column}"' for column in key)
    return f"(hash({columns}) % {shards})::USMALLINT"


def export(
    connection: Connection, query: str, parameters: Parameters, *, key: Sequence[str], shards: int, folder: Path
) -> list[RowFiles]:
    """Write the rows of ``query`` into files, by the shard of their ``key``.

    Returns:
        The files of each shard; none of one without rows.

    Raises:
        ShardFailed: the files can't be written, such as on a full disk.
    """
    folder.mkdir(parents=True)
    try:
        connection.execute(
            f"""
            COPY (SELECT *, {shard_sql(key, shards)} AS {SHARD} FROM ({query})) TO '{str(folder).replace("'", "''")}'
            (FORMAT parquet, COMPRESSION {COMPRESSION}, PARTITION_BY ({SHARD}), OVERWRITE_OR_IGNORE)
            """,
            parameters,
        )
    except duckdb.IOException as error:
        raise ShardFailed(
            f"The shards of the day can't be written to {folder}: {error}. Nothing of the day was stored."
        ) from error
    return [RowFiles.below(folder / f"{SHARD}={shard}") for shard in range(shards)]
