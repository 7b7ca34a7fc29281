"""Column mappings: how another data set's names, formats and labels become ours, written in YAML."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.types import COMPUTED, CURRENCY, LOCAL_TIME, SOURCE_AMOUNT, Attribute
from fraud_pipelines.strict_yaml import load
from fraud_pipelines.transactions.column_rules import ColumnRule, SourceColumn
from fraud_pipelines.transactions.currency import COLUMNS, has_currency
from fraud_pipelines.transactions.file_rule import FileRule
from fraud_pipelines.transactions.later_keys import LaterKeys
from fraud_pipelines.transactions.null_words import NullWords
from fraud_pipelines.transactions.rows_rule import RowsRule
from fraud_pipelines.transactions.timestamps import TimestampRule
from fraud_pipelines.transactions.zones import zone_of

_ATTRIBUTES: Final = "attributes"
_TIMESTAMP: Final = "timestamp"
_AMOUNT: Final = "amount"

Verdict = Annotated[str, BeforeValidator(lambda value: str(value).strip().lower())]
"""A value of a label column; compared as text, without regard to case."""


def _as_words(words: object) -> object:
    """Null words as text: YAML takes ``NULL`` for nothing and -1 for a number."""
    if isinstance(words, Mapping):
        return {name: _as_words(each) for name, each in words.items()}
    if isinstance(words, Sequence) and not isinstance(words, str):
        return ["null" if word is None else str(word).strip() for word in words]
    return words


class LabelRule(LaterKeys):
    """Where a source holds the verdict on a transaction, and when it would have become known.

    Attributes:
        column: the source's column.
        fraud_values: what it says of a fraud.
        legitimate_values: what it says of a legitimate transaction.
        include_legitimate: store these too. Off by default: past the label delay, what has no label counts as
            legitimate anyway, unless there are ``unlabelled_values``.
        delay_days: from the transaction until its label is known; parts of a day are allowed.
        source: ``chargeback`` (default) or ``review``.
        unlabelled_values: what it says where nobody has judged yet; such a transaction has no label, and never counts
            as legitimate. What is legitimate is then a label too, and stored.
        known_at_column: the source's column that says when the label became known; where it is null, ``delay_days``
            count.
        known_at_format: how that column writes its times; by default as the mapping's ``timestamp``.
    """

    column: str
    fraud_values: tuple[Verdict, ...] = ("1", "true", "yes")
    legitimate_values: tuple[Verdict, ...] = ("0", "false", "no")
    include_legitimate: bool = False
    delay_days: float = Field(default=7.0, ge=0, le=3_650)
    source: Literal["review", "chargeback"] = "chargeback"
    unlabelled_values: tuple[Verdict, ...] = ()
    known_at_column: str | None = Field(default=None, min_length=1)
    known_at_format: str | None = None

    @model_validator(mode="after")
    def _verdicts_are_apart(self) -> Self:
        meanings = {
            "fraud": self.fraud_values,
            "legitimate": self.legitimate_values,
            "no label": self.unlabelled_values,
        }
        for (one, its), (other, others) in combinations(meanings.items(), 2):
            both = sorted(set(its) & set(others))
            if both:
                raise ValueError(f"{both[0]!r} can't mean both {one} and {other}")
        if self.known_at_format is not None and self.known_at_column is None:
            raise ValueError("known_at_format says how known_at_column is written, which is missing")
        return self

    @field_validator("known_at_format")
    @classmethod
    def _is_a_format(cls, known_at_format: str | None) -> str | None:
        return None if known_at_format is None else TimestampRule(format=known_at_format).format

    @classmethod
    def dumped_always(cls) -> frozenset[str]:
        return frozenset({"column", "fraud_values", "legitimate_values", "include_legitimate", "delay_days", "source"})

    @property
    def stored_verdicts(self) -> tuple[bool, ...]:
        """The verdicts that are stored: a fraud, and where they are asked for or tell anything, legitimate ones."""
        return (True, False) if self.include_legitimate or self.unlabelled_values else (True,)

    def known_at_rule(self, timestamp: TimestampRule) -> TimestampRule:
        """How ``known_at_column`` is read in a mapping with this timestamp."""
        own = {} if self.known_at_format is None else {"format": self.known_at_format, "origin": None, "unit": None}
        return timestamp.model_copy(update={"columns": None, **own})


class ColumnMapping(LaterKeys):
    """How the columns of a source become those of a transaction.

    Attributes:
        source: a name for the data set, kept with each row beside the file's name.
        delimiter: between the fields of a CSV file: `FileRule.delimiter`.
        file: how to read the file before its columns are looked at.
        columns: our column → theirs, or a rule that makes it of theirs. What is not named is taken from the column of
            the same name, if there is one; ``null`` leaves an optional column empty.
        constants: our optional column → the same text for every row.
        timestamp: format and zone of ``timestamp``.
        label: the label column, if there is one.
        null_values: words that stand for no value, beside those that do anyway; an empty list for none at all, or
            our column → its words.
        rows: which rows are transactions; all of them by default.
        local_zone: the zone whose clock features of the hour and the day follow (`zone_of`), or the source's column
            that says it.
    """

    source: str | None = Field(default=None, min_length=1, max_length=100)
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    file: FileRule = FileRule()
    columns: dict[str, SourceColumn] = Field(default_factory=dict)
    constants: dict[str, str] = Field(default_factory=dict)
    timestamp: TimestampRule = TimestampRule()
    label: LabelRule | None = None
    null_values: Annotated[tuple[str, ...] | dict[str, tuple[str, ...]] | None, BeforeValidator(_as_words)] = None
    rows: RowsRule | None = None
    local_zone: str | None = Field(default=None, min_length=1)
    _attributes: tuple[Attribute, ...] = PrivateAttr(default=())
    _told: tuple[str, ...] = PrivateAttr(default=())

    @classmethod
    def identity(cls, attributes: Sequence[Attribute] | None = None) -> Self:
        """The mapping of a source that has our names and ISO 8601 timestamps already.

        Args:
            attributes: the columns of a transaction; those that ship by default.
        """
        return cls.validated({}, attributes)

    @classmethod
    def validated(cls, content: Mapping[str, object], attributes: Sequence[Attribute] | None = None) -> Self:
        """The mapping that a file with this content holds.

        Raises:
            ValidationError: a key is unknown or has an unusable value.
        """
        return cls.model_validate(content, context={_ATTRIBUTES: attributes})

    @classmethod
    def load(cls, path: Path, attributes: Sequence[Attribute] | None = None) -> Self:
        """Read a mapping from a YAML file.

        Args:
            attributes: the columns of a transaction; those that ship by default.

        Raises:
            InvalidInput: the file is missing or no YAML, or a key is unknown or has an unusable value.
        """
        try:
            content = load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"The mapping {path} can't be read: {error}. Check the path.") from error
        except yaml.YAMLError as error:
            raise InvalidInput(f"The mapping {path} is no YAML: {' '.join(str(error).split())}") from error
        if not isinstance(content, dict):
            raise InvalidInput(f"The mapping {path} is empty or no table of keys. {_KEYS}")
        try:
            return cls.validated(content, attributes)
        except ValidationError as error:
            faults = "; ".join(_describe(dict(fault)) for fault in error.errors())
            raise InvalidInput(f"The mapping {path}: {faults}. {_KEYS}") from error

    @model_validator(mode="after")
    def _delimiter_stands_once(self) -> Self:
        if self.delimiter and self.file.delimiter:
            raise ValueError("delimiter and file.delimiter say the same; keep one of them")
        return self

    @field_validator("delimiter")
    @classmethod
    def _separates(cls, delimiter: str | None) -> str | None:
        return FileRule(delimiter=delimiter).delimiter

    @model_validator(mode="after")
    def _names_are_ours(self, info: ValidationInfo) -> Self:
        given = (info.context or {}).get(_ATTRIBUTES)
        self._attributes = shipped_plan().attributes if given is None else tuple(given)
        if CURRENCY in self.constants and not has_currency(self._attributes):
            self._attributes += COLUMNS
        names = [each.name for each in self._attributes if each.name not in COMPUTED]
        required = [each.name for each in self._attributes if each.required]
        optional = [name for name in names if name not in required]
        words_of = self.null_values if isinstance(self.null_values, dict) else {}
        for section, named, allowed in (
            ("columns", self.columns, names),
            ("constants", self.constants, optional),
            ("null_values", words_of, names),
        ):
            unknown = [name for name in named if name not in allowed]
            if unknown:
                raise ValueError(f"{section}: {unknown[0]!r} is none of {', '.join(allowed)}")
        empty = [name for name in required if name in self.columns and not self.columns[name]]
        if empty:
            raise ValueError(f"columns: {empty[0]!r} is required and can't be empty")
        both = [name for name in self.constants if self.columns.get(name)]
        if both:
            raise ValueError(f"{both[0]!r} is in columns and in constants; keep one of them")
        unfit = [name for name, value in self.constants.items() if not value.strip().isprintable() or len(value) > 256]
        if unfit:
            raise ValueError(f"constants: {unfit[0]!r} must be printable text of up to 256 characters")
        if self.timestamp.columns and self.columns.get(_TIMESTAMP):
            raise ValueError("columns.timestamp and timestamp.columns exclude each other; keep one of them")
        for name, rule in self.rules.items():
            _check_rule(rule, next(each for each in self._attributes if each.name == name))
        return self

    @classmethod
    def dumped_always(cls) -> frozenset[str]:
        return frozenset({"source", "delimiter", "columns", "constants", "timestamp", "label"})

    def declared_by(self, attributes: Sequence[Attribute]) -> Self:
        """The same mapping to these columns of a transaction."""
        same = self.model_copy()
        further = COLUMNS if CURRENCY in self.constants and not has_currency(attributes) else ()
        same._attributes = (*attributes, *further)
        return same

    def telling(self, told: Sequence[str]) -> Self:
        """The same mapping, with sentences on where it comes from."""
        same = self.model_copy()
        same._told = tuple(told)
        return same

    @property
    def told(self) -> tuple[str, ...]:
        """Sentences on where it comes from, where nobody wrote it for the file."""
        return self._told

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The columns of a transaction that it maps to."""
        return self._attributes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the mapping: the same file read through another mapping is another delivery."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def file_rule(self) -> FileRule:
        """How to read the file, the delimiter included."""
        return self.file.model_copy(update={"delimiter": self.delimiter}) if self.delimiter else self.file

    @property
    def rules(self) -> dict[str, ColumnRule]:
        """Our column → how it is made, for those that say more than a name."""
        return {name: rule for name, rule in self.columns.items() if isinstance(rule, ColumnRule)}

    @property
    def words(self) -> NullWords:
        """The texts that stand for no value."""
        return NullWords.of(self.null_values)

    @property
    def needs_row_ids(self) -> bool:
        """Whether an id is made of a row's content and its count in the file."""
        return any(rule.row for rule in self.rules.values())

    @property
    def judged_only(self) -> bool | None:
        """Whether the source says which payments nobody has judged; null where it doesn't."""
        return True if self.label is not None and self.label.unlabelled_values else None

    @property
    def wanted_columns(self) -> dict[str, str]:
        """Our column → theirs, for all that may come from one column of the source."""
        computed = COMPUTED | ({SOURCE_AMOUNT} if has_currency(self._attributes) else set())
        if self.timestamp.columns:
            computed |= {_TIMESTAMP}
        wanted = {}
        for name in (each.name for each in self._attributes):
            theirs = self.columns.get(name, name)
            if isinstance(theirs, ColumnRule):
                theirs = theirs.column
            if theirs and name not in self.constants and name not in computed:
                wanted[name] = theirs
        return wanted

    @property
    def source_columns(self) -> tuple[str, ...]:
        """Every column that is looked for in the source, under the source's names."""
        zone = [self.local_zone_column] if self.local_zone_column else []
        return tuple(dict.fromkeys([*self.wanted_columns.values(), *self._named_beside().values(), *zone]))

    @property
    def known_columns(self) -> frozenset[str]:
        """The columns of the source that the mapping knows of: those that are looked for, and those it leaves out."""
        left_out = {name for name, theirs in self.columns.items() if theirs is None} | set(self.constants)
        return frozenset({*self.source_columns, *left_out})

    @property
    def local_zone_column(self) -> str | None:
        """The column of the source that says the local zone; one of that name, unless the mapping says otherwise."""
        if self.local_zone is None:
            return _LOCAL_ZONE
        return None if zone_of(self.local_zone) else self.local_zone

    @property
    def default_zone(self) -> str | None:
        """The local zone where no column of the source says it."""
        declared = next((each.zone for each in self._attributes if each.name == LOCAL_TIME), None)
        return (zone_of(self.local_zone) if self.local_zone else None) or declared

    def _named_beside(self) -> dict[str, str]:
        """The key of the mapping → the column of the source that it names, where that is no column of ours alone."""
        of_rules = {
            f"columns.{ours}.{key}": theirs
            for ours, rule in self.rules.items()
            if rule.column is None
            for key, theirs in rule.reads.items()
        }
        of_time = {f"timestamp.{key}": theirs for key, theirs in self.timestamp.reads.items()}
        of_label: dict[str, str | None] = {}
        if self.label:
            of_label = {"label.column": self.label.column, "label.known_at_column": self.label.known_at_column}
        of_rows = {f"rows.keep, {name}": name for name in self.rows.reads} if self.rows else {}
        if self.local_zone and self.local_zone_column:
            of_rows["local_zone"] = self.local_zone_column
        return of_rules | of_time | of_rows | {key: theirs for key, theirs in of_label.items() if theirs}

    def require_columns(self, present: Collection[str], *, file: Path, sparse: bool) -> None:
        """Make sure that a source has what the mapping needs of it.

        Needed are the required columns and each one that the mapping names. Where a row may leave out what is
        null (``sparse``), only the required columns that the mapping names; the rest shows row by row.

        Raises:
            InvalidInput: a column is missing.
        """
        if sparse and not present:
            return
        required = {each.name for each in self._attributes if each.required}
        needed = {
            f"columns.{ours}": theirs
            for ours, theirs in self.wanted_columns.items()
            if (ours in self.columns and ours in required)
            or (not sparse and (ours in self.columns or ours in required))
        }
        if not sparse:
            needed |= self._named_beside()
        missing = [f"{theirs!r} ({key})" for key, theirs in needed.items() if theirs not in present]
        if missing:
            raise InvalidInput(
                f"{file} lacks the column {', '.join(missing)}; it has {', '.join(map(repr, present))}. "
                "Name its own columns in a mapping (docs/mappings.md), which fraud-pipelines mapping draft begins"
                + _delimiter_hint(present)
                + "."
            )


_LOCAL_ZONE: Final = "local_zone"


def _check_rule(rule: ColumnRule, attribute: Attribute) -> None:
    """Make sure that a rule can give a column of that type.

    Raises:
        ValueError: it can't; pydantic tells the key.
    """
    key = f"columns.{attribute.name}"
    is_number = attribute.type in ("number", "integer")
    if rule.numeric_keys and not is_number:
        raise ValueError(f"{key}: {rule.numeric_keys[0]} is for numbers, and the column is of type {attribute.type}")
    if rule.is_id and attribute.type not in ("text", "timestamp"):
        raise ValueError(f"{key}: join and row give a text, and the column is of type {attribute.type}")
    if rule.negative == "refund" and attribute.name != _AMOUNT:
        raise ValueError(f"{key}: only a negative amount can be a refund; use reject or absolute")


_KEYS = f"Known keys: {', '.join(ColumnMapping.model_fields)} (docs/mappings.md)."


def _delimiter_hint(present: Collection[str]) -> str:
    only = next(iter(present), "")
    found = next((separator for separator in ";\t|" if separator in only), None)
    return f", and set `delimiter: {found!r}` there" if len(present) == 1 and found else ""


def _describe(fault: Mapping[str, object]) -> str:
    location = fault["loc"]
    places = location if isinstance(location, tuple) else ()
    # What tells a name from a rule is no key.
    shown = [place for at, place in enumerate(places) if not (at == 2 and places[0] == "columns")]
    key = ".".join(map(str, shown))
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        return f"{key} is no key of a mapping"
    hint = ", put it in quotes" if fault["type"] == "string_type" else ""
    return (f"{key}: " if key else "") + message[:1].lower() + message[1:] + hint
