"""Sources: CSV, TSV, Parquet and JSON lines, gzipped or not, read in chunks as they stand."""

import gzip
import hashlib
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, Protocol

from fraud_pipelines.errors import InaccessibleFile, InvalidInput
from fraud_pipelines.transactions.delimited import DelimitedFile
from fraud_pipelines.transactions.json_lines import JsonLinesFile
from fraud_pipelines.transactions.parquet import ParquetFile
from fraud_pipelines.transactions.records import RecordChunk

FORMATS: Final = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json")
"""The endings by which a format is known; each may be followed by ``.gz``."""

_BLOCK_BYTES: Final = 1 << 24
_GZIP_MAGIC: Final = b"\x1f\x8b"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


class RecordSource(Protocol):
    """An opened file, to be read once.

    Attributes:
        columns: the columns it has; of JSON lines, those seen at the start.
        sparse: whether a row may lack any of them (JSON lines).
    """

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def sparse(self) -> bool: ...

    def chunks(self) -> Iterator[RecordChunk]:
        """All rows in the order of the file."""


def open_records(path: Path, columns: Collection[str], *, delimiter: str | None = None) -> RecordSource:
    """Open ``path`` as what its name says it is, to read at least those of ``columns`` that it has.

    Args:
        path: one file.
        columns: under the source's own names.
        delimiter: between the fields of CSV; the default is a comma, in ``.tsv`` a tab.

    Raises:
        InvalidInput: the file is missing, empty, damaged or of an unknown format; ``chunks`` raises it too, where
            the damage shows only later.
    """
    ending = _format(path)
    head = next(_blocks(path), b"")
    if not head:
        raise InvalidInput(f"{path} is empty. Deliver it again, or remove it.")
    if ending == ".parquet":
        return ParquetFile(str(path), b"".join(_blocks(path)) if _is_gzipped(path) else path)
    if head.startswith(_UTF16_MARKS):
        raise InvalidInput(f"{path} is UTF-16. Convert it to UTF-8, for example with `iconv -f UTF-16 -t UTF-8`.")
    if ending in {".csv", ".tsv"}:
        separator = delimiter or ("\t" if ending == ".tsv" else ",")
        return DelimitedFile(str(path), _blocks(path), delimiter=separator)
    return JsonLinesFile(str(path), _blocks(path), columns)


def content_hash(path: Path) -> str:
    """SHA-256 of the content, decompressed: the same rows gzipped anew count as the same file.

    Raises:
        InvalidInput: the file is missing or damaged.
    """
    digest = hashlib.sha256()
    for block in _blocks(path):
        digest.update(block)
    return digest.hexdigest()


def _format(path: Path) -> str:
    if not path.exists():
        raise InvalidInput(f"{path} does not exist. Check the path.")
    if not path.is_file():
        raise InvalidInput(f"{path} is not a file. Name one file of records, or use the command for a folder.")
    name = path.name.lower().removesuffix(".gz")
    for ending in FORMATS:
        if name.endswith(ending):
            return ending
    raise InvalidInput(f"{path}: unknown format. The name must end in one of {', '.join(FORMATS)}, or that and .gz.")


def _is_gzipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP_MAGIC


def _blocks(path: Path) -> Iterator[bytes]:
    """The content in pieces, decompressed where it is gzipped, whatever the name says."""
    try:
        with gzip.open(path) if _is_gzipped(path) else path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidInput(f"{path} can't be read: {error}. Deliver it again whole.") from error
    except OSError as error:
        raise InaccessibleFile(
            f"{path} can't be read: {error}. Check its permissions, and the file system it lies on."
        ) from error
