"""JSON documents: a list of objects, by itself or within an object, read one object at a time."""

import json
from collections.abc import Collection, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.file_rule import FileRule
from fraud_pipelines.transactions.json_lines import PEEK, Members, has_value, members_of, parsed_chunk
from fraud_pipelines.transactions.records import RecordChunk

_PARSED: Final = 50_000


class JsonDocument:
    """The objects of a list, numbered from 1. The content is read once.

    Raises:
        InvalidInput: it isn't JSON, or it isn't clear which list holds the records. As long as a part of the document
            is left, that may show only in `chunks`.
    """

    sparse = True

    def __init__(self, name: str, blocks: Iterable[bytes], rule: FileRule, wanted: Collection[str]) -> None:
        self._name = name
        self._wanted = wanted
        self._where = ""
        self._objects = self._records(_Stream(blocks), rule.records)
        first = list(islice(self._objects, PEEK))
        self.columns = members_of([each for each in first if isinstance(each, dict)], wanted)
        self._objects = chain(first, self._objects)
        self._members = Members(wanted)
        self.told = (f"Records read from {self._where}",) if self._where and not rule.records else ()

    @property
    def absent(self) -> tuple[str, ...]:
        """The wanted members that no object had, once all are read."""
        return self._members.absent

    def chunks(self) -> Iterator[RecordChunk]:
        """All rows, in the order of the list, with the wanted members only; one that is absent is null."""
        number = 1
        while part := list(islice(self._objects, _PARSED)):
            parsed = [_as_row(each) for each in part]
            texts = pl.Series("line", [text for _, text in parsed], dtype=pl.String)
            numbers = pl.int_range(number, number + len(part), dtype=pl.Int64, eager=True).alias("row_number")
            yield parsed_chunk([row for row, _ in parsed], texts, numbers, self._wanted, self._members)
            number += len(part)

    def _records(self, stream: "_Stream", path: str | None) -> Iterator[Any]:
        """The elements of the list at ``path``; by default of the document, or of the only list in its object."""
        import ijson

        try:
            yield from self._elements(stream, path)
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"{self._name} can't be read as JSON: {error}. Write it anew, or one object a line (.jsonl)."
            ) from error

    def _elements(self, stream: "_Stream", path: str | None) -> Iterator[Any]:
        import ijson

        events = iter(ijson.parse(stream, use_float=True))
        found = False
        for place, event, _ in events:
            if event != "start_array" or (place != path if path is not None else _is_within_a_list(place)):
                continue
            first = next(events)
            if path is None and place and first[1] != "start_map":
                _skip(events, first)
                continue
            if found:
                raise InvalidInput(
                    f"{self._name} holds several lists of objects, at {self._where!r} and {place!r}. "
                    "Say with file.records in its mapping which one holds the records."
                )
            found, self._where = True, place
            yield from _values(events, first)
            if path is not None or not place:
                return
        if not found:
            raise InvalidInput(
                f"{self._name} holds no list of records{f' at {path!r}' if path else ''}. Say with file.records in its "
                "mapping where it stands, or write one object a line (.jsonl)."
            )


def _as_row(value: Any) -> tuple[dict[str, object] | str, str]:
    """The object or what is wrong with it, and its text."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        text = json.dumps(value)
    except ValueError:
        return "malformed JSON: a number is out of range", json.dumps(value)
    return (value if isinstance(value, dict) else "malformed JSON: not an object"), text


_Event = tuple[str, str, Any]


def _values(events: Iterator[_Event], first: _Event) -> Iterator[Any]:
    """The elements of a list, whose ``first`` event after its beginning was taken already, up to its end."""
    import ijson

    depth, builder = 0, ijson.ObjectBuilder()
    for _, event, value in chain([first], events):
        if depth == 0 and event == "end_array":
            return
        builder.event(event, value)
        depth += (event in ("start_map", "start_array")) - (event in ("end_map", "end_array"))
        if depth == 0:
            yield builder.value
            builder = ijson.ObjectBuilder()


def _skip(events: Iterator[_Event], first: _Event) -> None:
    for _ in _values(events, first):
        pass


def _is_within_a_list(place: str) -> bool:
    return "item" in place.split(".")


class _Stream:
    """The blocks as a file that ijson reads."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._rest = memoryview(block)
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)


def is_document(head: bytes, wanted: Collection[str]) -> bool:
    """Whether JSON that begins so is one document with a list of records, and not an object a line.

    One object alone is a document if it has none of the ``wanted`` members, and holds a list of objects.
    """
    start = head.strip()
    first, _, others = start.partition(b"\n")
    value = _parsed(first.strip())
    if start.startswith(b"["):
        return value is None or not others.strip()
    if not start.startswith(b"{"):
        return False
    if others.strip():
        return value is None and not _are_mostly_objects(others.split(b"\n")[:_SAMPLE_LINES])
    if not isinstance(value, dict):
        return value is None and len(start) > _LARGE
    return not any(has_value(value, name) for name in wanted) and _holds_records(value)


def _are_mostly_objects(lines: list[bytes]) -> bool:
    whole = [line for line in lines[:-1] or lines if line.strip()]
    return sum(isinstance(_parsed(line.strip()), dict) for line in whole) * 2 > len(whole)


_SAMPLE_LINES: Final = 50
_LARGE: Final = 1 << 19
"""Bytes of a line that is still one, where it is cut for a sample."""


def _holds_records(value: dict[str, Any]) -> bool:
    """Whether a list of objects stands in the object, or in an object within it."""
    return any(
        (isinstance(each, list) and bool(each) and isinstance(each[0], dict))
        or (isinstance(each, dict) and _holds_records(each))
        for each in value.values()
    )


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
