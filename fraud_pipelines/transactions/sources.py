"""Sources: files of records in any of the formats below, packed or not, read in chunks as they stand.

A further format is a module with a class like those here, and one entry in ``FORMATS``.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.delimited import DelimitedFile
from fraud_pipelines.transactions.file_rule import FileRule
from fraud_pipelines.transactions.json_documents import JsonDocument, is_document
from fraud_pipelines.transactions.json_lines import JsonLinesFile
from fraud_pipelines.transactions.packing import (
    PACKED,
    Member,
    concatenated,
    is_workbook,
    members,
    require_no_bomb,
    unpacked_size,
)
from fraud_pipelines.transactions.parquet import ParquetFile
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.text_encodings import Text
from fraud_pipelines.transactions.workbooks import WorkbookFile


class RecordSource(Protocol):
    """An opened file, to be read once.

    Attributes:
        columns: the columns it has; of JSON, those seen at the start.
        sparse: whether a row may lack any of them (JSON).
        told: what was recognised of it, in sentences.
        absent: of a sparse file the wanted columns that no row had, once all are read.
    """

    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def sparse(self) -> bool: ...
    @property
    def told(self) -> tuple[str, ...]: ...
    @property
    def absent(self) -> tuple[str, ...]: ...

    def chunks(self) -> Iterator[RecordChunk]:
        """All rows in the order of the file."""


Reader = Callable[[Path, Member, Collection[str], FileRule], RecordSource]
"""Opens a member of a file, which may be the file itself, to read at least those of the wanted columns that it has."""


def _read_csv(path: Path, member: Member, columns: Collection[str], rule: FileRule) -> RecordSource:
    return DelimitedFile(str(path), Text(member.blocks(), rule.encoding), rule, columns)


def _read_tsv(path: Path, member: Member, columns: Collection[str], rule: FileRule) -> RecordSource:
    return DelimitedFile(str(path), Text(member.blocks(), rule.encoding), rule, columns, usual="\t")


def _read_json_lines(path: Path, member: Member, columns: Collection[str], rule: FileRule) -> RecordSource:
    if rule.records is not None:
        return _read_json(path, member, columns, rule)
    return _lines(Text(member.blocks(), rule.encoding), columns)


def _read_json(path: Path, member: Member, columns: Collection[str], rule: FileRule) -> RecordSource:
    text = Text(member.blocks(), rule.encoding)
    if rule.records is not None or is_document(text.head, columns):
        return JsonDocument(str(path), text.blocks(), rule, columns)
    return _lines(text, columns)


def _lines(text: Text, columns: Collection[str]) -> RecordSource:
    source = JsonLinesFile(text.blocks(), columns)
    source.told = text.told
    return source


def _read_parquet(path: Path, member: Member, columns: Collection[str], _: FileRule) -> RecordSource:
    packed = member.name != path.name or path.suffix.lower() != ".parquet"
    return ParquetFile(str(path), concatenated(member.blocks()) if packed else path, columns)


FORMATS: Final[dict[str, Reader]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
}
"""The readers by the ending of a name, which ``.gz``, ``.bz2`` or ``.zst`` may follow; a ``.zip`` holds such files, and
``.xlsx`` is told by its content."""


def open_records(
    path: Path, columns: Collection[str], *, delimiter: str | None = None, rule: FileRule | None = None
) -> RecordSource:
    """Open ``path`` as what its name says it is, to read at least those of ``columns`` that it has.

    Args:
        path: one file.
        columns: under the source's own names; a dotted path leads into nested values.
        delimiter: between the fields of CSV, where the rule doesn't say.
        rule: how to read it; by default all is recognised.

    Raises:
        InvalidInput: the file is missing, empty, damaged, too large or of an unknown format; ``chunks`` raises it too,
            where that shows only later.
    """
    _require_file(path)
    rule = rule or FileRule()
    if delimiter and not rule.delimiter:
        rule = rule.model_copy(update={"delimiter": delimiter})
    limit = rule.max_gigabytes * 1e9
    if is_workbook(path):
        require_no_bomb(path, unpacked_size(path), limit)
        return WorkbookFile(path, rule, columns)
    parts = members(path, limit=limit)
    if len(parts) == 1:
        return _opened(path, parts[0], columns, rule)
    return _Archive(path, parts, columns, rule)


def content_hash(path: Path) -> str:
    """SHA-256 of the content, unpacked: the same rows packed anew count as the same file.

    Raises:
        InvalidInput: the file is missing or damaged.
    """
    _require_file(path)
    digest = hashlib.sha256()
    for member in members(path):
        for block in member.blocks():
            digest.update(block)
    return digest.hexdigest()


def _opened(path: Path, member: Member, columns: Collection[str], rule: FileRule) -> RecordSource:
    reader = _reader(path, member)
    if not next(member.blocks(), b""):
        raise InvalidInput(f"{path} is empty. Deliver it again, or remove it.")
    return reader(path, member, columns, rule)


def _reader(path: Path, member: Member) -> Reader:
    name = member.name.lower()
    for ending, reader in FORMATS.items():
        if name.endswith(ending):
            return reader
    within = f", or of {member.name} in it" if member.name != path.name else ""
    raise InvalidInput(
        f"{path}: unknown format{within}. The name must end in one of {', '.join(FORMATS)}, .xlsx or .zip, and may "
        f"have one of {', '.join(PACKED)} after that."
    )


class _Archive:
    """The members of an archive one after the other, as one file.

    The rows of each member are numbered on from those of the one before.
    """

    def __init__(self, path: Path, parts: list[Member], columns: Collection[str], rule: FileRule) -> None:
        self._path = path
        self._parts = parts
        self._wanted = columns
        self._rule = rule
        self._first = _opened(path, parts[0], columns, rule)
        self.columns = self._first.columns
        self.sparse = self._first.sparse
        self._absent: tuple[str, ...] | None = None
        self.told = (f"Read {len(parts):,} files of the archive: {_some(parts)}", *self._first.told)

    @property
    def absent(self) -> tuple[str, ...]:
        return self._absent or ()

    def chunks(self) -> Iterator[RecordChunk]:
        """All rows.

        Raises:
            InvalidInput: a member has other columns than the first.
        """
        offset = 0
        for place, part in enumerate(self._parts):
            source = self._first if not place else _opened(self._path, part, self._wanted, self._rule)
            if not source.sparse and set(source.columns) != set(self.columns):
                raise InvalidInput(
                    f"{self._path}: {part.name} has other columns than {self._parts[0].name}. Deliver them as files of "
                    "their own."
                )
            last = 0
            for chunk in source.chunks():
                last = max([last, *chunk.row_number.tail(1), *chunk.unreadable["row_number"].tail(1)])
                yield replace(
                    chunk,
                    fields=chunk.fields if source.sparse else chunk.fields.select(self.columns),
                    row_number=chunk.row_number + offset,
                    unreadable=chunk.unreadable.with_columns(row_number=chunk.unreadable["row_number"] + offset),
                )
            offset += last
            absent = set(source.absent)
            self._absent = tuple(
                name for name in (source.absent if self._absent is None else self._absent) if name in absent
            )


def _some(parts: list[Member]) -> str:
    names = [part.name for part in parts[:5]]
    return ", ".join(names) + (f" and {len(parts) - 5:,} more" if len(parts) > 5 else "")


def _require_file(path: Path) -> None:
    if not path.exists():
        raise InvalidInput(f"{path} does not exist. Check the path.")
    if not path.is_file():
        raise InvalidInput(f"{path} is not a file. Name one file of records, or use the command for a folder.")
