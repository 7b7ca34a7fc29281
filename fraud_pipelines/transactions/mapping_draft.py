"""Mapping drafts: a first mapping of a file by its header and a sample, with comments on what a person must decide."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.types import COMPUTED, Attribute
from fraud_pipelines.transactions.column_guesses import (
    FRAUD_WORDS,
    LEGITIMATE_WORDS,
    Sample,
    guess_clock_columns,
    guess_columns,
    guess_currency,
    guess_label,
    guess_states,
    guess_time_columns,
    guess_zone,
)
from fraud_pipelines.transactions.file_rule import FileRule
from fraud_pipelines.transactions.recognised_draft import draft_of_recognised
from fraud_pipelines.transactions.recognition import recognise
from fraud_pipelines.transactions.sources import RecordSource, open_records
from fraud_pipelines.transactions.time_guesses import TimeGuess, guess_times, is_clock

SAMPLE_ROWS: Final = 50_000
_HEADER_LINES: Final = 30
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_YAML_WORDS: Final = frozenset({"y", "n", "yes", "no", "true", "false", "on", "off", "null", "none"})
_PAYMENT_WORDS: Final = 6
_POINT_OR_GROUP: Final = r"^-?[0-9]{1,3}\.[0-9]{3}$"


def draft_mapping(path: Path, attributes: Sequence[Attribute]) -> str:
    """The text of a mapping for ``path``: what could be told, and comments on the rest.

    Of a file that is recognised it is the mapping that ships.
    No value of a column is shown, but words of columns that have a few, since a mapping is kept with the code.

    Args:
        attributes: the columns of a transaction.

    Raises:
        InvalidInput: the file can't be read, has no rows, or holds disputes.
    """
    if found := recognise(path):
        return draft_of_recognised(found, {attribute.name for attribute in attributes})
    rule, source = _opened(path)
    # Of JSON only what is asked for is read.
    rows = open_records(path, source.columns, rule=rule).chunks()
    chunk = next((chunk for chunk in rows if chunk.fields.height), None)
    if chunk is None:
        raise InvalidInput(f"{path} has no rows to draft a mapping from.")
    sample = Sample(chunk.fields.head(SAMPLE_ROWS))
    draft = _Draft(sample, attributes)
    lines = [
        f"# Drafted from the first {sample.fields.height:,} rows of {_comment(path.name)}.",
        "# Every line is a guess by names and values: read them all.",
        "# What each key means: docs/mappings.md. Try it: fraud-pipelines import FILE --mapping THIS --dry-run",
        *(f"# {_comment(told)}" for told in source.told),
        f"source: {_quoted(_stem(path)[:100])}",
        *_file_lines(rule),
        *draft.lines(),
    ]
    return "\n".join(lines) + "\n"


class _Draft:
    """The lines of a mapping for a sample."""

    def __init__(self, sample: Sample, attributes: Sequence[Attribute]) -> None:
        self._sample = sample
        self._attributes = attributes
        self._names = {attribute.name for attribute in attributes}
        self._optional = {each.name for each in attributes if not each.required} - COMPUTED
        self._label = guess_label(sample)
        self._time, self._clock, self._times = self._find_times()
        self._zone = guess_zone(sample) if self._clock or self._times else None
        taken = {name for name in (self._label, self._time, self._clock, self._zone) if name}
        self._columns = guess_columns(sample, attributes, taken)
        self._used = taken | {*self._columns.values()}

    def lines(self) -> Iterator[str]:
        yield "columns:"
        yield from self._column_lines()
        yield from self._currency_lines()
        yield from self._timestamp_lines()
        yield from self._label_lines()
        yield from self._row_lines()
        yield from self._unused_lines()

    def _find_times(self) -> tuple[str | None, str | None, TimeGuess | None]:
        """The column of times, that of times of day beside it, and how they are written."""
        counting: tuple[str, TimeGuess] | None = None
        for name in guess_time_columns(self._sample):
            guess = guess_times(self._sample.values(name))
            if guess is None or not (guess.formats or guess.serial_days):
                if guess and counting is None:
                    counting = name, guess
                continue
            clock = None if guess.has_clock else self._clock_beside(name)
            if clock:
                both = self._sample.fields.select(
                    pl.concat_str(pl.col(name, clock).cast(pl.String).str.strip_chars(), separator=" ")
                )
                return name, clock, guess_times(both.to_series().drop_nulls())
            return name, None, guess
        return (counting[0], None, counting[1]) if counting else (None, None, None)

    def _clock_beside(self, date: str) -> str | None:
        clocks = guess_clock_columns(self._sample)
        return next((name for name in clocks if name != date and is_clock(self._sample.values(name))), None)

    def _column_lines(self) -> Iterator[str]:
        yield self._id_line()
        yield from self._user_lines()
        if self._time and not self._clock:
            yield f"  timestamp: {_quoted(self._time)}"
        elif not self._time:
            yield "  # timestamp is required, and no column looks like one: choose it.  timestamp: NAME"
        yield from self._amount_lines()
        for ours, theirs in self._columns.items():
            if ours not in ("transaction_id", "user_id", "amount"):
                yield f"  {ours}: {_quoted(theirs)}"
        # A column of our name that was guessed to be something else would be taken twice.
        for name in self._sample.columns:
            if name in self._optional and name not in self._used:
                yield f"  {name}: null   # the source has a column of this name; take out the line to use it"

    def _id_line(self) -> str:
        theirs = self._columns.get("transaction_id")
        if theirs:
            return f"  transaction_id: {_quoted(theirs)}   # differs in every row of the sample"
        return (
            "  transaction_id: {row: true}   # no column named like an id differs in every row: one is made of the "
            "row's content"
        )

    def _user_lines(self) -> Iterator[str]:
        theirs = self._columns.get("user_id")
        if theirs is None:
            yield "  # user_id is required, and no complete column looks like one: choose who pays.  user_id: NAME"
            yield "  # Where nobody is told apart, {row: true} makes each row a stranger."
            return
        alone = self._sample.is_unique(theirs) and self._sample.fields.height > 1
        hint = "differs in every row: is it who pays, or an id of the payment?" if alone else "who pays"
        yield f"  user_id: {_quoted(theirs)}   # {hint}"

    def _amount_lines(self) -> Iterator[str]:
        theirs = self._columns.get("amount")
        if theirs is None:
            yield "  # amount is required, and no column of numbers looks like one: choose it.  amount: NAME"
            return
        keys, hints = [f"column: {_quoted(theirs)}"], []
        written = self._sample.number_format(theirs)
        if written and written.decimal == ",":
            keys += ['decimal: ","', 'thousands: "."']
        elif written and written.thousands:
            keys.append('thousands: ","')
        numbers = self._sample.numbers(theirs)
        negative = int((numbers < 0).sum())
        if negative:
            keys.append("negative: reject")
            hints.append(f"{negative:,} of {numbers.len():,} are negative: choose reject, refund or absolute")
        if self._sample.text(theirs).str.contains(_POINT_OR_GROUP).all():
            hints.append('three digits after each point: if it stands between thousands, add thousands: "."')
        elif (numbers == numbers.round()).all():
            hints.append("whole numbers: if they are cents, add divide_by: 100")
        value = _quoted(theirs) if len(keys) == 1 else "{" + ", ".join(keys) + "}"
        yield f"  amount: {value}" + (f"   # {'; '.join(hints)}" if hints else "")

    def _currency_lines(self) -> Iterator[str]:
        theirs = guess_currency(self._sample)
        if theirs is None or "currency" in self._names:
            return
        self._used.add(theirs)
        words = self._sample.words(theirs) or []
        if len(words) == 1:
            yield f"constants:\n  currency: {_quoted(words[0].upper())}   # all that {_comment(theirs)} says"
        else:
            yield f"# {_comment(theirs)} says currencies. To have amounts converted, declare in fraud.yaml, below"
            yield f"# attributes,  currency: {{type: text}}  and add here, below columns,  currency: {_quoted(theirs)}"

    def _timestamp_lines(self) -> Iterator[str]:
        guess = self._times
        if guess is None:
            return
        if guess.counts:
            yield "# The timestamp counts from somewhere: choose from when, and in what (second, minute, hour, day)."
            yield "# timestamp: {origin: 2026-01-01, unit: second}"
            return
        yield "timestamp:"
        if self._clock and self._time:
            yield f"  columns: [{_quoted(self._time)}, {_quoted(self._clock)}]"
        if guess.serial_days:
            yield "  origin: 1899-12-30   # a spreadsheet's serial dates"
            yield "  unit: day"
        elif len(guess.formats) == 1:
            yield f"  format: {_quoted(guess.formats[0])}"
        else:
            yield "  # The sample reads in several ways. Choose one of these lines; until then no time can be read:"
            for each in guess.formats:
                yield f"  # format: {_quoted(each)}   # {_order(each)}"
        if self._zone and not guess.serial_days:
            yield f"  zone_column: {_quoted(self._zone)}"
        if not guess.has_offset:
            yield "  zone: UTC   # the times say no zone: choose the one they are in, such as Europe/Berlin"

    def _label_lines(self) -> Iterator[str]:
        if self._label is None:
            yield "# No column looks like a verdict (fraud or not). With one:  label: {column: NAME, fraud_values: [1]}"
            return
        words = [word.lower() for word in self._sample.words(self._label) or []]
        fraud = [word for word in words if word in FRAUD_WORDS]
        legitimate = [word for word in words if word in LEGITIMATE_WORDS]
        other = [word for word in words if word not in (*fraud, *legitimate)]
        known = bool(fraud or (legitimate and not other))
        start, hint = ("", "") if known else ("# ", "   # choose")
        yield f"{start}label:"
        yield f"{start}  column: {_quoted(self._label)}"
        if fraud or other:
            yield f"{start}  fraud_values: {_list(fraud or other)}{hint}"
        if legitimate:
            yield f"{start}  legitimate_values: {_list(legitimate)}"
        if other and known:
            yield f"  unlabelled_values: {_list(other)}   # choose what these mean"
        yield f"{start}  delay_days: 7   # choose after how many days a fraud becomes known"

    def _row_lines(self) -> Iterator[str]:
        for name, words in guess_states(self._sample).items():
            shown = _comment(", ".join(words[:_PAYMENT_WORDS])) + (", …" if len(words) > _PAYMENT_WORDS else "")
            column = '"' + name.replace('"', '""') + '"'
            listed = ", ".join("'" + word.replace("'", "''") + "'" for word in words[:_PAYMENT_WORDS])
            yield f"# {_comment(name)} says {shown}. If not all are payments, choose those that are:"
            yield f"# rows: {{keep: {_quoted(f'{column} IN ({listed})')}}}"

    def _unused_lines(self) -> Iterator[str]:
        unused = [name for name in self._sample.columns if name not in self._used]
        if unused:
            yield "# Not used. To take one in, declare it in fraud.yaml (docs/declarations.md), and name it in columns:"
            for name in unused:
                yield f"#   {_comment(name)}: {self._kind(name)}"

    def _kind(self, name: str) -> str:
        if self._sample.text(name).is_empty():
            column = self._sample.fields[name]
            return "values within, named by a dotted path" if column.dtype.is_nested() else "empty in the sample"
        return "number" if self._sample.number_format(name) else "text"


def _opened(path: Path) -> tuple[FileRule, RecordSource]:
    """The file, opened by the line that names its columns, which is the first unless a later one names more."""
    rule = FileRule()
    source = open_records(path, (), rule=rule)
    named = _named_columns(source)
    if source.sparse or named > max(1, len(source.columns) - 1):
        return rule, source
    for line in range(2, _HEADER_LINES + 1):
        later = FileRule(header_line=line)
        try:
            other = open_records(path, (), rule=later)
        except InvalidInput:
            continue
        if (count := _named_columns(other)) > named:
            rule, source, named = later, other, count
    return rule, source


def _named_columns(source: RecordSource) -> int:
    """How many columns have a name that is no value."""
    return sum(re.search(r"[^\W\d_]", name) is not None and not _is_place(name) for name in source.columns)


def _is_place(name: str) -> bool:
    return re.fullmatch(r"column \d+", name) is not None


def _file_lines(rule: FileRule) -> Iterator[str]:
    if rule.header_line != 1:
        yield "file:"
        yield f"  header_line: {rule.header_line}   # what stands above it is passed over"


def _stem(path: Path) -> str:
    return path.name.split(".")[0] or path.name


def _order(pattern: str) -> str:
    day, month = pattern.find("%d"), pattern.find("%m")
    return "the day first" if 0 <= day < month else "the month first"


def _list(words: Sequence[str]) -> str:
    return "[" + ", ".join(_quoted(word, always=True) for word in words) + "]"


def _quoted(text: str, *, always: bool = False) -> str:
    """A text as YAML takes it for a text."""
    if not always and _PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS:
        return text
    return json.dumps(text, ensure_ascii=True)


def _comment(text: str) -> str:
    """A text that stays on the line of its comment."""
    return "".join(sign if sign.isprintable() else " " for sign in text)[:200]
