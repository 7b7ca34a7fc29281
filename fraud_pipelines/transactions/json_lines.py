"""JSON lines: one object a line, its members as columns."""

import json
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Final, NoReturn

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.records import RecordChunk, unreadable_rows
from fraud_pipelines.transactions.text_lines import LineChunk, decode_lines, printable, read_lines

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_PEEK_LINES: Final = 1_000
_PARSED_LINES: Final = 50_000
"""Objects held in memory at once: as Python objects they take some ten times the room of a column."""


class JsonLinesFile:
    """One JSON object a line. ``blocks`` is the decompressed content, read once.

    ``columns`` are the members that occur in the first 1,000 lines; only the ``wanted`` are read.

    Raises:
        InvalidInput: a ``.json`` file is one array over the whole file.
    """

    sparse = True

    def __init__(self, name: str, blocks: Iterable[bytes], wanted: Collection[str]) -> None:
        self._wanted = wanted
        self._lines = read_lines(blocks)
        self._first_lines = next(self._lines, [])
        if self._first_lines:
            self._first_lines[0] = self._first_lines[0].removeprefix(_BYTE_ORDER_MARK)
            if name.lower().removesuffix(".gz").endswith(".json"):
                _refuse_array(name, self._first_lines)
        peeked = decode_lines(self._first_lines[:_PEEK_LINES], first_number=1)
        objects = [value for value in map(_parse_object, peeked.text) if isinstance(value, dict)]
        self.columns = tuple(dict.fromkeys(member for value in objects for member in value))

    def chunks(self) -> Iterator[RecordChunk]:
        """All rows, in the order of the file, with the wanted members only; one that is absent is null."""
        number = 1
        for lines in chain([self._first_lines], self._lines):
            for start in range(0, len(lines), _PARSED_LINES):
                part = lines[start : start + _PARSED_LINES]
                yield _parse(decode_lines(part, first_number=number), self._wanted)
                number += len(part)


def _refuse_array(name: str, lines: list[bytes]) -> None:
    first = lines[0].strip()
    if first == b"[" or (first.startswith(b"[{") and (len(lines) == 1 or not first.endswith(b"]"))):
        raise InvalidInput(
            f"{name} holds one JSON array. Write one object a line instead, "
            "for example with `jq -c '.[]' FILE.json > FILE.jsonl`."
        )


def _parse(chunk: LineChunk, columns: Collection[str]) -> RecordChunk:
    objects: list[dict[str, object]] = []
    sound: list[bool] = []
    faults: list[tuple[int, str, str]] = []
    for number, line in zip(chunk.row_number, chunk.text, strict=True):
        parsed = _parse_object(line)
        sound.append(isinstance(parsed, dict))
        if isinstance(parsed, dict):
            objects.append(parsed)
        else:
            faults.append((number, parsed, printable(line)))
    malformed = unreadable_rows(*map(list, zip(*faults, strict=True))) if faults else chunk.unreadable.clear()
    fields = [_column(name, [record.get(name) for record in objects]) for name in columns]
    keep = pl.Series(sound, dtype=pl.Boolean)
    return RecordChunk(
        fields=pl.DataFrame([values for values, _ in fields]),
        row_number=chunk.row_number.filter(keep),
        unreadable=pl.concat([chunk.unreadable, malformed]).sort("row_number"),
        wrong_types=pl.DataFrame([types for _, types in fields if types is not None]),
        lines=chunk.text.filter(keep),
    )


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
