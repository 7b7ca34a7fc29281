"""Rows in Parquet files: what a shard of a day is read from and written to, and what stands for a frame."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

COMPRESSION: Final = "snappy"
"""The files are read once or twice and live for minutes: that they are written and read fast counts most."""


@dataclass(frozen=True)
class RowFiles:
    """Rows in files, in the order of ``paths``. They need not fit in memory: whoever stores them reads them in turn."""

    paths: tuple[Path, ...] = ()

    @property
    def sql(self) -> str:
        """What a query reads them by; there has to be one."""
        listed = ", ".join(f"'{_quoted(path)}'" for path in self.paths)
        return f"read_parquet([{listed}])"

    def read(self, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """The rows, as a frame with the columns of ``schema``; without a file none."""
        if not self.paths:
            return pl.DataFrame(schema=dict(schema))
        return self._read(list(schema)).select(pl.col(name).cast(dtype) for name, dtype in schema.items())

    def read_all(self) -> pl.DataFrame:
        """The rows with all their columns; there has to be a file."""
        return self._read(None)

    def _read(self, columns: list[str] | None) -> pl.DataFrame:
        return pl.read_parquet(list(self.paths), columns=columns, hive_partitioning=False)

    @classmethod
    def below(cls, folder: Path) -> "RowFiles":
        """All files in a folder, by their names."""
        return cls(tuple(sorted(folder.glob("*.parquet"))))

    @classmethod
    def joined(cls, files: Iterable["RowFiles"]) -> "RowFiles":
        """All rows, one after the other."""
        return cls(tuple(path for each in files for path in each.paths))


def write_rows(rows: pl.DataFrame, path: Path) -> RowFiles:
    """Write a frame into a file."""
    rows.write_parquet(path, compression=COMPRESSION, statistics=False)
    return RowFiles((path,))


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
