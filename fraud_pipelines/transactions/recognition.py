"""Recognition: a public data set, or an export that many people have, is told by its columns and read by its mapping.

A further source is one file in ``known_sources``: a title, the columns that tell it, a mapping, and what it has beyond
the columns that ship. Names are compared without regard to case and separators.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict, Field

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.types import Attribute
from fraud_pipelines.transactions.landing_zone import nearest_mapping
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.sources import open_records
from fraud_pipelines.transactions.timestamps import TimestampRule

_FOLDER: Final = Path(__file__).with_name("known_sources")
_OURS: Final = frozenset({"transaction_id", "user_id", "timestamp", "amount"})
_TIMESTAMP: Final = "timestamp"
_AMOUNT: Final = "amount"
_EARLIEST_YEAR: Final = 1900
_BY_ROW: Final = {"row": True}
_DECIMAL_COMMAS: Final = {"decimal": ",", "thousands": "."}
_THOUSANDS_COMMAS: Final = {"decimal": ".", "thousands": ","}
_QUOTED: Final = re.compile(r'"((?:[^"]|"")+)"')


class KnownSource(BaseModel):
    """A data set or export that is told by its columns.

    Attributes:
        title: what it is called in messages.
        columns: those that it always has, ``a|b`` where releases differ; together they tell it from all others.
        holds: transactions, or disputes about transactions that are here already.
        note: what the mapping assumes.
        time_formats: how the timestamp may be written; the one that reads most of a sample counts, of several the
            first.
        aliases: further columns under all names that they have, ``a|b``; the mapping names the first.
        outgoing: where the file has negative amounts, these are the payments, and the rest is left out.
        mapping: as in a mapping file; a column that an export lacks is passed over, and of a list of names and rules
            the first counts that the export has the columns for.
        declarations: as in ``fraud.yaml``: what it has beyond the columns that ship.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    columns: tuple[str, ...] = Field(min_length=1)
    holds: Literal["transactions", "disputes"] = "transactions"
    note: str = ""
    time_formats: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    outgoing: bool = False
    mapping: dict[str, Any] = Field(default_factory=dict)
    declarations: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Recognised:
    """A file that is of a known source.

    Attributes:
        name: of the source.
        source: what is known of it.
        columns: the source's name of a column → how the file writes it.
        told: sentences on what was recognised.
        time_format: how the file writes its times, where the source leaves that open.
        number_signs: the signs in amounts, as keys of a column rule, where they are not the usual ones.
        outgoing: whether only negative amounts are payments.
    """

    name: str
    source: KnownSource
    columns: Mapping[str, str]
    told: tuple[str, ...]
    time_format: str | None = None
    number_signs: Mapping[str, str] = field(default_factory=dict)
    outgoing: bool = False

    def mapping(self, attributes: Sequence[Attribute] | None = None) -> ColumnMapping:
        """How the file's columns become those of a transaction.

        Args:
            attributes: the columns of a transaction; those that ship by default. What is not among them is passed
                over, which the mapping tells.
        """
        known = [each.name for each in attributes or ColumnMapping.identity().attributes]
        content = self.mapping_content()
        columns = content.get("columns", {})
        undeclared = [ours for ours in columns if ours not in known]
        content["columns"] = {ours: theirs for ours, theirs in columns.items() if ours in known}
        told = self.told
        if content["columns"].get("user_id") == _BY_ROW:
            told += ("No column tells customers apart, so each row is a customer of its own",)
        if undeclared:
            told += (
                f"Not taken, since fraud.yaml doesn't declare it: {', '.join(undeclared)} "
                f"(fraud-pipelines mapping show {self.name} --declarations prints what to add)",
            )
        return ColumnMapping.validated(content, attributes).telling(told)

    def mapping_content(self) -> dict[str, Any]:
        """The mapping as a mapping file has it, with the names that the file uses."""
        content = deepcopy(self.source.mapping)
        columns = {ours: self._of_file(theirs) for ours, theirs in content.get("columns", {}).items()}
        if self.number_signs:
            rule = columns[_AMOUNT]
            columns[_AMOUNT] = (rule if isinstance(rule, dict) else {"column": rule}) | dict(self.number_signs)
        # An explicit null leaves a column empty; what the file lacks is passed over.
        given = self.source.mapping.get("columns", {})
        content["columns"] = {o: c for o, c in columns.items() if c is not None or given[o] is None}
        timestamp = content.get(_TIMESTAMP, {})
        if "columns" in timestamp:
            timestamp["columns"] = self._present(timestamp["columns"])
        if "zone_column" in timestamp:
            timestamp["zone_column"] = self.columns.get(timestamp["zone_column"])
        if self.time_format:
            timestamp["format"] = self.time_format
        if timestamp:
            content[_TIMESTAMP] = timestamp
        label = content.get("label")
        if label:
            label["column"] = self.columns.get(label["column"])
            if label["column"] is None:
                del content["label"]
        rows = content.get("rows")
        if rows:
            keep = self._sql(rows["keep"])
            content["rows"] = {"keep": keep}
            if keep is None:
                del content["rows"]
        if self.outgoing:
            content["rows"] = {"keep": f"{_quoted(_amount_column(columns))} LIKE '%-%'"}
        return content

    def _of_file(self, theirs: object) -> object:
        """A column or rule in the names of the file; None where the file lacks what it needs."""
        if isinstance(theirs, str):
            return self.columns.get(theirs)
        if isinstance(theirs, list):
            return next((rule for each in theirs if (rule := self._of_file(each))), None)
        if not isinstance(theirs, dict):
            return None
        rule = dict(theirs)
        if "column" in rule:
            rule["column"] = self.columns.get(rule["column"])
        for key in ("join", "first_of"):
            if key in rule:
                present = self._present(rule[key])
                rule[key] = present if key == "first_of" or len(present) == len(rule[key]) else None
        if "sql" in rule:
            rule["sql"] = self._sql(rule["sql"])
        return rule if all(rule.values()) else None

    def _sql(self, sql: str) -> str | None:
        """An expression, whose columns are all in double quotes, in the names of the file."""
        names = [name.replace('""', '"') for name in _QUOTED.findall(sql)]
        if any(name not in self.columns for name in names):
            return None

        def quoted(match: re.Match[str]) -> str:
            return _quoted(self.columns[match[1].replace('""', '"')])

        return _QUOTED.sub(quoted, sql)

    def _present(self, names: Iterable[str]) -> list[str]:
        return [self.columns[name] for name in names if name in self.columns]


@cache
def known_sources() -> dict[str, KnownSource]:
    """Name → what is known of the source."""
    return {
        path.stem: KnownSource.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        for path in sorted(_FOLDER.glob("*.yaml"))
    }


def recognise(path: Path) -> Recognised | None:
    """Which known source a file is of, by its columns; None for any other, and for one with our own names.

    Raises:
        InvalidInput: the file can't be read.
    """
    present = open_records(path, ()).columns
    if set(present) >= _OURS:
        return None
    by_plain: dict[str, str] = {}
    for name in present:
        by_plain.setdefault(_plain(name), name)
        if f"{name}.2" in present:  # The first of those that stand twice is that only by this name.
            by_plain[_plain(f"{name}.1")] = f"{name}.1"
    fits = [
        (name, source)
        for name, source in known_sources().items()
        if all(any(_plain(each) in by_plain for each in column.split("|")) for column in source.columns)
    ]
    if not fits:
        return None
    name, source = max(fits, key=lambda fit: len(fit[1].columns))
    columns = {theirs: by_plain[_plain(theirs)] for theirs in _named(source) if _plain(theirs) in by_plain}
    for names in (each.split("|") for each in (*source.columns, *source.aliases)):
        theirs = next((by_plain[_plain(each)] for each in names if _plain(each) in by_plain), None)
        if theirs is not None:
            columns[names[0]] = theirs
    told = (f"Recognised by its columns: {source.title}", *([source.note] if source.note else []))
    return _as_written(path, Recognised(name, source, columns, told))


def shown(source: str, *, declarations: bool = False) -> str:
    """The mapping of a known source, or its declarations, as the text of a YAML file.

    Args:
        source: its name, or the path of a file of it.

    Raises:
        InvalidInput: it is neither, or has no such thing.
    """
    if source in known_sources():
        known = known_sources()[source]
        found = Recognised(
            source, known, {name: name for name in _named(known)}, (), next(iter(known.time_formats), None)
        )
    else:
        recognised = recognise(Path(source))
        if recognised is None:
            raise InvalidInput(f"{source} is no known source. Draft a mapping: fraud-pipelines mapping draft {source}")
        known, found = recognised.source, recognised
    content = known.declarations if declarations else known.mapping and found.mapping_content()
    if not content:
        what = "no columns beyond those that ship" if declarations else "no mapping: fraud-pipelines import takes it in"
        raise InvalidInput(f"{known.title} has {what}.")
    comments = [known.title, *([known.note] if known.note else [])]
    text: str = yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)
    return "".join(f"# {comment}\n" for comment in comments) + text


def mapping_for(path: Path, folder: Path, attributes: Sequence[Attribute] | None = None) -> ColumnMapping:
    """The mapping of a file: the nearest ``mapping.yaml``, else that of the known source, else one of our own names.

    Raises:
        InvalidInput: the mapping or the file can't be read, or the file holds disputes.
    """
    beside = nearest_mapping(path, folder)
    if beside:
        return ColumnMapping.load(beside, attributes)
    found = recognise(path)
    if found is None:
        return ColumnMapping.identity(attributes)
    if found.source.holds == "disputes":
        raise InvalidInput(
            f"{path} holds disputes ({found.source.title}), not transactions. Take it in by: "
            f"fraud-pipelines review chargebacks {path.name}"
        )
    return found.mapping(attributes)


def _named(source: KnownSource) -> set[str]:
    """Every column that a source's mapping may name; more does no harm."""
    names = set(source.columns)
    for rule in source.mapping.get("columns", {}).values():
        names |= _strings(rule)
    timestamp, label = source.mapping.get(_TIMESTAMP, {}), source.mapping.get("label", {})
    names |= _strings([timestamp.get("columns", []), timestamp.get("zone_column"), label.get("column")])
    return names | _strings(source.mapping.get("rows", {}))


def _strings(value: object) -> set[str]:
    if isinstance(value, str):
        return {value, *(name.replace('""', '"') for name in _QUOTED.findall(value))}
    if isinstance(value, Mapping):
        return {name for each in value.values() for name in _strings(each)}
    if isinstance(value, Sequence):
        return {name for each in value for name in _strings(each)}
    return set()


def _as_written(path: Path, found: Recognised) -> Recognised:
    """The same, with how the file writes times and amounts, by a sample of it."""
    if found.source.holds == "disputes":
        return found
    content = found.mapping_content()
    rule = content.get(_TIMESTAMP, {})
    columns = content["columns"]
    timed = rule.get("columns") or [columns[_TIMESTAMP]] if found.source.time_formats else []
    amount = _amount_column(columns)
    wanted = [*timed, *([amount] if amount else [])]
    sample = next((chunk.fields for chunk in open_records(path, wanted).chunks()), pl.DataFrame())
    if not {*wanted} <= {*sample.columns}:
        return found
    try:
        texts = sample.select(pl.col(name).cast(pl.String, strict=False).str.strip_chars() for name in wanted)
    except pl.exceptions.PolarsError:  # Nested values are no texts; the rows are rejected one by one.
        return found
    if amount and sample[amount].dtype == pl.String():
        found = _with_amounts(found, texts[amount])
    return _with_time_format(found, texts.select(pl.concat_str(timed, separator=" ")).to_series()) if timed else found


def _with_amounts(found: Recognised, amounts: pl.Series) -> Recognised:
    points = amounts.str.contains(r"\.\d{1,2}\D*$").any()
    signs: Mapping[str, str] = {}
    told = ""
    if not points and amounts.str.contains(r",\d{1,2}\D*$").any():
        signs, told = _DECIMAL_COMMAS, "Amounts are read with decimal commas"
    elif points and amounts.str.contains(r"\d,\d{3}\.").any():
        signs, told = _THOUSANDS_COMMAS, "Amounts are read with commas between thousands"
    outgoing = found.source.outgoing and bool(amounts.str.contains("-", literal=True).any())
    return replace(found, number_signs=signs, outgoing=outgoing, told=(*found.told, *([told] if told else [])))


def _with_time_format(found: Recognised, texts: pl.Series) -> Recognised:
    counts = {
        # A year of two digits, read as one of four, is of antiquity.
        each: (TimestampRule(format=each).to_utc(texts)[0].dt.year() >= _EARLIEST_YEAR).sum()
        for each in found.source.time_formats
    }
    best = max(counts.values())
    fitting = [each for each, count in counts.items() if count == best]
    told = f"Times are read as {fitting[0]}"
    if len(fitting) > 1:
        told += f", though they may be {' or '.join(fitting[1:])}: a mapping of your own can say so"
    return replace(found, time_format=fitting[0], told=(*found.told, told))


def _amount_column(columns: Mapping[str, object]) -> str:
    """The source's column with the amount; empty where it is made of several."""
    rule = columns.get(_AMOUNT)
    name = rule.get("column") if isinstance(rule, Mapping) else rule
    return str(name or "")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9ßäöü]", "", name.strip().lower())
