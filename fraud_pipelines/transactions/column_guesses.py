"""Column guesses: which column of a source may be which of ours, by its name and by what it holds."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import yaml

from fraud_pipelines.plan.types import Attribute
from fraud_pipelines.transactions.numbers import NumberFormat, has_decimal_comma
from fraud_pipelines.transactions.source_text import as_text

_CONTENT: Final[Mapping[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("column_names.yaml").read_text(encoding="utf-8")
)
_NAMES: Final[Mapping[str, Sequence[str]]] = {ours: names.split() for ours, names in _CONTENT["columns"].items()}

FRAUD_WORDS: Final = frozenset(_CONTENT["fraud"])
LEGITIMATE_WORDS: Final = frozenset(_CONTENT["legitimate"])
_MOST_WORDS: Final = 12
_CODES: Final = r"^[A-Za-z]{3}$"


@dataclass(frozen=True)
class Sample:
    """The first rows of a file, as the source types them."""

    fields: pl.DataFrame

    @property
    def columns(self) -> list[str]:
        return self.fields.columns

    def text(self, name: str) -> pl.Series:
        """The values of a column as trimmed text, without those that are null or blank."""
        text, _ = as_text(self.fields[name])
        text = text.drop_nulls().str.strip_chars()
        return text.filter(text.str.len_bytes() > 0)

    def values(self, name: str) -> pl.Series:
        """The values as they are typed, blank texts left out."""
        column = self.fields[name]
        return self.text(name) if isinstance(column.dtype, pl.String) else column.drop_nulls()

    def words(self, name: str) -> list[str] | None:
        """The different values of a column, most frequent first; None if they are many."""
        counts = self.text(name).value_counts(sort=True)
        return None if counts.height > _MOST_WORDS else counts.to_series(0).to_list()

    def is_complete(self, name: str) -> bool:
        """Whether every row has a value."""
        return self.text(name).len() == self.fields.height

    def is_unique(self, name: str) -> bool:
        """Whether every row has a value of its own."""
        return self.is_complete(name) and not self.text(name).is_duplicated().any()

    def number_format(self, name: str) -> NumberFormat | None:
        """How the numbers of a column are written; None if they are none."""
        column = self.fields[name]
        if column.dtype.is_numeric():
            return NumberFormat()
        text = self.text(name)
        if text.is_empty() or not isinstance(column.dtype, pl.String):
            return None
        points, commas = (NumberFormat(".", ","), NumberFormat(",", "."))
        tried = (NumberFormat(), *((commas, points) if has_decimal_comma(text).any() else (points, commas)))
        return next((each for each in tried if each.parse(text)[0].null_count() == 0), None)

    def numbers(self, name: str) -> pl.Series:
        """The numbers of a column that has some."""
        column = self.fields[name]
        if column.dtype.is_numeric():
            return column.drop_nulls().cast(pl.Float64)
        return (self.number_format(name) or NumberFormat()).parse(self.text(name))[0]


def plain(name: str) -> str:
    """A name without regard to case, separators and what stands in parentheses such as (UTC)."""
    return re.sub(r"[^a-z0-9äöüß]", "", re.sub(r"\(.*?\)", "", name).lower()) or re.sub(r"[^a-z0-9]", "", name.lower())


def guess_columns(sample: Sample, attributes: Sequence[Attribute], taken: Iterable[str]) -> dict[str, str]:
    """Our column → the one of the source that it may be; each is used once.

    Args:
        attributes: the columns of a transaction.
        taken: columns of the source that are used otherwise.
    """
    used = set(taken)
    guesses: dict[str, str] = {}
    wanted = {attribute.name: attribute for attribute in attributes if attribute.name != "timestamp"}
    for ours in [*(name for name in _NAMES if name in wanted), *(name for name in wanted if name not in _NAMES)]:
        names = [plain(ours), *_NAMES.get(ours, ())]
        theirs = _best(sample, names, used, _fits(sample, ours))
        if theirs is not None:
            guesses[ours] = theirs
            used.add(theirs)
    return guesses


def guess_time_columns(sample: Sample) -> list[str]:
    """The columns that may hold the time of a transaction, likeliest first."""
    return _called(sample, "times")


def guess_clock_columns(sample: Sample) -> list[str]:
    """The columns that may hold a time of day beside a date, likeliest first."""
    return _called(sample, "clocks")


def guess_zone(sample: Sample) -> str | None:
    """The column that may say the zone of a row's time."""
    return next(iter(_called(sample, "zones")), None)


def guess_label(sample: Sample) -> str | None:
    """The column that may hold the verdict; it has few values."""
    return next((name for name in _called(sample, "labels") if sample.words(name)), None)


def guess_states(sample: Sample) -> dict[str, list[str]]:
    """Columns that may say what became of a payment → their values."""
    return {name: words for name in _called(sample, "states") if len(words := sample.words(name) or []) > 1}


def guess_currency(sample: Sample) -> str | None:
    """The column that may hold codes of currencies."""
    fits = _fits(sample, "currency")
    return next((name for name in _named(sample, _NAMES["currency"]) if fits(name)), None)


def _fits(sample: Sample, ours: str) -> Callable[[str], bool]:
    if ours == "transaction_id":
        return sample.is_unique
    if ours == "amount":
        return lambda name: sample.number_format(name) is not None
    if ours == "user_id":
        return sample.is_complete
    if ours == "currency":
        return lambda name: bool(sample.text(name).str.contains(_CODES).all())
    return lambda _: True


def _best(sample: Sample, names: Sequence[str], used: set[str], fits: Callable[[str], bool]) -> str | None:
    """The column that has the first name of all and fits; else one whose name begins or ends with such a name."""
    free = [name for name in sample.columns if name not in used]
    for wanted in names:
        for name in free:
            if plain(name) == wanted and fits(name):
                return name
    for wanted in names:
        for name in free:
            if len(wanted) > 5 and (plain(name).endswith(wanted) or plain(name).startswith(wanted)) and fits(name):
                return name
    return None


def _called(sample: Sample, kind: str) -> list[str]:
    return _named(sample, _CONTENT[kind].split())


def _named(sample: Sample, names: Sequence[str]) -> list[str]:
    found = {name: plain(name) for name in sample.columns}
    exact = [name for wanted in names for name in found if found[name] == wanted]
    ending = [name for wanted in names for name in found if len(wanted) > 3 and found[name].endswith(wanted)]
    return list(dict.fromkeys([*exact, *ending]))
