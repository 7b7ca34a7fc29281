"""JSON lines: one object a line, its members as columns."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final, NoReturn

import polars as pl

from fraud_pipelines.transactions.nested import value_at
from fraud_pipelines.transactions.records import RecordChunk, unreadable_rows
from fraud_pipelines.transactions.text_lines import decode_lines, printable, read_lines

PEEK: Final = 1_000
"""Objects at the beginning whose members are known as the columns of a file."""
_PARSED_LINES: Final = 50_000
"""Objects held in memory at once: as Python objects they take some ten times the room of a column."""


class Members:
    """Which of the wanted members there are; those of inner objects by a dotted path."""

    def __init__(self, wanted: Collection[str]) -> None:
        self._missing = dict.fromkeys(wanted)

    def note(self, objects: Sequence[Mapping[str, object]]) -> None:
        """Look at some objects."""
        if not self._missing:
            return
        there = set[str]().union(*objects)
        for name in list(self._missing):
            if name in there or ("." in name and any(value_at(each, name) is not None for each in objects)):
                del self._missing[name]

    @property
    def absent(self) -> tuple[str, ...]:
        """Those that no object had so far."""
        return tuple(self._missing)


def members_of(objects: Sequence[Mapping[str, object]], wanted: Collection[str]) -> tuple[str, ...]:
    """All members of some objects, and the wanted paths into them that lead to a value."""
    names = dict.fromkeys(member for each in objects for member in each)
    paths = [path for path in wanted if path not in names and any(has_value(each, path) for each in objects)]
    return (*names, *paths)


class JsonLinesFile:
    """One JSON object a line. ``blocks`` is the content as UTF-8, read once.

    ``columns`` are the members that occur in the first 1,000 lines; only the ``wanted`` are read.
    """

    sparse = True
    told: tuple[str, ...] = ()

    def __init__(self, blocks: Iterable[bytes], wanted: Collection[str]) -> None:
        self._wanted = wanted
        self._members = Members(wanted)
        self._lines = read_lines(blocks)
        self._first_lines = next(self._lines, [])
        peeked = decode_lines(self._first_lines[:PEEK], first_number=1)
        objects = [value for value in map(_parse_object, peeked.text) if isinstance(value, dict)]
        self.columns = members_of(objects, wanted)

    @property
    def absent(self) -> tuple[str, ...]:
        """The wanted members that no object had, once all are read."""
        return self._members.absent

    def chunks(self) -> Iterator[RecordChunk]:
        """All rows, in the order of the file, with the wanted members only; one that is absent is null."""
        number = 1
        for lines in chain([self._first_lines], self._lines):
            for start in range(0, len(lines), _PARSED_LINES):
                part = decode_lines(lines[start : start + _PARSED_LINES], first_number=number)
                chunk = parsed_chunk(
                    list(map(_parse_object, part.text)), part.text, part.row_number, self._wanted, self._members
                )
                yield replace(chunk, unreadable=pl.concat([part.unreadable, chunk.unreadable]).sort("row_number"))
                number += len(lines[start : start + _PARSED_LINES])


def parsed_chunk(
    parsed: Sequence[dict[str, object] | str],
    texts: pl.Series,
    numbers: pl.Series,
    wanted: Collection[str],
    members: Members,
) -> RecordChunk:
    """Objects as a chunk.

    Args:
        parsed: each row's object, or what is wrong with it.
        texts, numbers: of the rows.
        wanted: the members to take, or paths into them.
        members: is told which of them there are.
    """
    objects = [each for each in parsed if isinstance(each, dict)]
    members.note(objects)
    fields = [_column(name, _values(objects, name)) for name in wanted]
    chunk = RecordChunk(
        fields=pl.DataFrame([values for values, _ in fields]),
        row_number=numbers,
        wrong_types=pl.DataFrame([types for _, types in fields if types is not None]),
        lines=texts,
    )
    if len(objects) == len(parsed):
        return chunk
    faults = [
        (number, each, printable(text))
        for number, each, text in zip(numbers, parsed, texts, strict=True)
        if isinstance(each, str)
    ]
    keep = pl.Series([isinstance(each, dict) for each in parsed], dtype=pl.Boolean)
    return replace(
        chunk,
        row_number=numbers.filter(keep),
        unreadable=unreadable_rows(*map(list, zip(*faults, strict=True))),
        lines=texts.filter(keep),
    )


def _values(objects: Sequence[Mapping[str, object]], name: str) -> list[object]:
    if "." in name:
        return [value_at(each, name) for each in objects]
    return [each.get(name) for each in objects]


def has_value(record: Mapping[str, object], path: str) -> bool:
    """Whether there is such a member, or a value at the dotted path."""
    return path in record or ("." in path and value_at(record, path) is not None)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"JSON has no {constant}")


_JSON_BLANKS: Final = " \t\r"
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _parse_object(line: str) -> dict[str, object] | str:
    """The object on the line, or what is wrong with it."""
    text = line.strip(_JSON_BLANKS)
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        return f"malformed JSON: {error.msg}"
    except ValueError as error:
        return f"malformed JSON: {error}"
    except RecursionError:
        return "malformed JSON: nested too deeply"
    if end != len(text):
        return "malformed JSON: more than one value in the line"
    return value if isinstance(value, dict) else "malformed JSON: not an object"


def _column(name: str, values: list[object]) -> tuple[pl.Series, pl.Series | None]:
    """One member of all objects as a column, and what its values are where they are neither text nor number."""
    kinds = set(map(type, values)) - {type(None)}
    try:
        if kinds <= {str}:
            return pl.Series(name, values, dtype=pl.String), None
        if kinds == {int}:
            return pl.Series(name, values, dtype=pl.Int64), None
        if kinds == {float}:
            return pl.Series(name, values, dtype=pl.Float64), None
    except (UnicodeEncodeError, OverflowError, TypeError):
        pass
    mixed = [_as_text(value) for value in values]
    texts = pl.Series(name, [text for text, _ in mixed], dtype=pl.String)
    wrong = pl.Series(name, [kind for _, kind in mixed], dtype=pl.String)
    return texts, None if wrong.null_count() == wrong.len() else wrong


def _as_text(value: object) -> tuple[str | None, str | None]:
    """Text and numbers as text; of anything else, what it is."""
    if value is None:
        return None, None
    if isinstance(value, bool):
        return ("true" if value else "false"), "boolean"
    if isinstance(value, str):
        return (value, None) if _is_unicode(value) else (None, "broken Unicode escape")
    if isinstance(value, int | float):
        return repr(value), None
    return None, "object" if isinstance(value, dict) else "array"


def _is_unicode(text: str) -> bool:
    """Whether the text can be stored: JSON can escape half of a surrogate pair, which is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
