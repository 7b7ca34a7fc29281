"""Currencies: amounts are stored in one base currency, by the rates of the day; what the source said is kept.

Rates and the base are kept in the warehouse, so that a stream, a day and a file that is delivered again use the same.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.types import CURRENCY, SOURCE_AMOUNT, Attribute
from fraud_pipelines.storage.connection import Connection, insert, registered, select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.cleaning import ChunkCleaner
from fraud_pipelines.transactions.waiting import look_into

COLUMNS: Final = (
    Attribute(CURRENCY, "text", description="The currency of the amount at its source."),
    Attribute(SOURCE_AMOUNT, "number", description="The amount as its source said it, in its currency."),
)
"""What a transaction has where currencies are declared, beside its amount, which is in the base currency."""

NO_RATE: Final = "currency has no rate on or before that day"
NO_BASE: Final = "currency is one of several, and no base currency is set"
"""Both pass: a row can be delivered again once there is a rate, or a base."""
_RATES: Final = "raw.exchange_rates"
_BASE: Final = "raw.base_currency"
_CODE: Final = r"^[A-Z]{3}$"


@dataclass
class Money:
    """The base currency, None while none is known, and the rates: ``rate_date``, ``currency``, ``rate``.

    A rate is how many units of the base one unit of the currency is worth, from its date on until the next one's.
    """

    base: str | None
    rates: pl.DataFrame

    @classmethod
    def read(cls, connection: Connection) -> "Money":
        """What the warehouse holds."""
        base = select(connection, f"SELECT currency FROM {_BASE}")["currency"]
        rates = select(connection, f"SELECT rate_date, currency, rate FROM {_RATES} ORDER BY currency, rate_date")
        return cls(base[0] if len(base) else None, rates)

    @classmethod
    def none(cls) -> "Money":
        """No base and no rates."""
        schema = {"rate_date": pl.Date(), CURRENCY: pl.String(), "rate": pl.Float64()}
        return cls(None, pl.DataFrame(schema=schema))

    def convert(self, rows: pl.DataFrame, cleaner: ChunkCleaner) -> pl.DataFrame:
        """``rows`` with ``amount`` in the base currency and ``source_amount`` as it came; refused rows are noted.

        The only currency there is, without a base, becomes the base.
        """
        codes = rows[CURRENCY].str.to_uppercase()
        cleaner.reject(codes.is_null(), f"{CURRENCY} is missing")
        cleaner.reject(~codes.str.contains(_CODE), f"{CURRENCY} is no code of three letters")
        sound = codes.filter(cleaner.reasons.is_null())
        if self.base is None and sound.n_unique() == 1:
            self.base = sound[0]
        if self.base is None:
            cleaner.reject(codes.is_not_null(), NO_BASE)
        dated = rows.select(
            pl.int_range(pl.len()).alias("row"), codes.alias(CURRENCY), pl.col("timestamp").dt.date().alias("rate_date")
        )
        rate = (
            dated.sort("rate_date", nulls_last=True)
            .join_asof(self.rates.sort("rate_date"), on="rate_date", by=CURRENCY, check_sortedness=False)
            .sort("row")
            .select(pl.when(pl.col(CURRENCY) == self.base).then(1.0).otherwise("rate"))
            .to_series()
        )
        cleaner.reject(rate.is_null(), NO_RATE)
        return rows.with_columns(
            codes.alias(CURRENCY), pl.col("amount").alias(SOURCE_AMOUNT), (pl.col("amount") * rate).alias("amount")
        )

    def keep_base(self, connection: Connection) -> None:
        """Keep the base that the first transactions have set."""
        if self.base and select(connection, f"SELECT 1 FROM {_BASE}").is_empty():
            insert(connection, _BASE, pl.DataFrame({CURRENCY: [self.base]}))


def base_currency(warehouse: Warehouse) -> str | None:
    """The currency that stored amounts are in; None where transactions don't say theirs."""
    base = warehouse.read(f"SELECT {CURRENCY} FROM {_BASE}")
    return str(base.item()) if base.height else None


def has_currency(attributes: Collection[Attribute]) -> bool:
    """Whether a transaction says its currency."""
    return any(attribute.name == CURRENCY for attribute in attributes)


def take_in_rates(
    warehouse: Warehouse, *, base: str, rates_file: Path | None, landing: Path, move: bool = True
) -> None:
    """Keep the base currency that is set, and the rates of the file and of those that wait in the landing zone.

    A rate that comes again for the same day takes the place of the one before; amounts that were converted stay.

    Args:
        move: move what waited away, once it is stored.

    Raises:
        InvalidInput: a file can't be used, or another base was in use before.
    """
    files = ([rates_file] if rates_file else []) + [
        waiting.path for waiting in (look_into(landing).files if landing.is_dir() else [])
    ]
    rates = [read_rates(file) for file in files]
    if not rates and not base:
        return
    with warehouse.connect(read_only=True) as connection:
        stored = Money.read(connection)
    if base and stored.base and stored.base != base:
        raise InvalidInput(
            f"FRAUD_BASE_CURRENCY is {base}, and the stored amounts are in {stored.base}. Keep {stored.base}, or begin "
            "with an empty data directory."
        )
    new = pl.concat(rates) if rates else stored.rates.clear()
    new = new.unique(["rate_date", CURRENCY], keep="last").join(stored.rates, on=stored.rates.columns, how="anti")
    if new.height or (base and not stored.base):
        with warehouse.transaction() as connection, registered(connection, _new=new):
            connection.delete(_RATES, "(rate_date, currency) IN (SELECT (rate_date, currency) FROM _new)")
            insert(connection, _RATES, new)
            if base:
                Money(base, new).keep_base(connection)
    for file in files:
        if move and file.is_relative_to(landing):
            taken = landing.parent / "_landed" / landing.name
            taken.mkdir(parents=True, exist_ok=True)
            file.replace(taken / file.name)


class RateFiles:
    """The files that rates come from, for who runs for long: they are read again once one has changed.

    Args:
        warehouse, base, rates_file, landing: as `take_in_rates` takes them.
    """

    def __init__(self, warehouse: Warehouse, *, base: str, rates_file: Path | None, landing: Path) -> None:
        self.problem: InvalidInput | None = None
        """Why what has changed since can't be used; the rates before are in force."""
        self._warehouse = warehouse
        self._base = base
        self._rates_file = rates_file
        self._landing = landing
        self._seen: object = None

    def take_in(self) -> None:
        """Keep the rates of files that are new or have changed.

        Raises:
            InvalidInput: a file can't be used the first time; later on, `problem` says so.
        """
        first, files = self._seen is None, self._files()
        if files == self._seen:
            return
        try:
            take_in_rates(self._warehouse, base=self._base, rates_file=self._rates_file, landing=self._landing)
            self.problem = None
        except InvalidInput as error:
            if first:
                raise
            self.problem = error
        self._seen = files

    def _files(self) -> object:
        """The files as they are now. Those in the landing zone are moved away once they are taken in."""
        waiting = look_into(self._landing).files if self._landing.is_dir() else []
        try:
            status = self._rates_file.stat() if self._rates_file else None
        except OSError:
            status = None  # what reads it says why
        return status and (status.st_mtime_ns, status.st_size, status.st_ino), tuple(waiting)


def read_rates(path: Path) -> pl.DataFrame:
    """``rate_date``, ``currency``, ``rate`` of a CSV file with the columns ``date``, ``currency`` and ``rate``.

    Raises:
        InvalidInput: the file can't be read; the message names the row and the field.
    """
    try:
        raw = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InvalidInput(f"The rates {path} can't be read: {error}") from error
    missing = [name for name in ("date", CURRENCY, "rate") if name not in raw.columns]
    if missing:
        raise InvalidInput(f"The rates {path} lack the column {', '.join(missing)}; they need date, currency, rate.")
    rates = raw.select(
        pl.col("date").str.strip_chars().str.to_date("%Y-%m-%d", strict=False).alias("rate_date"),
        pl.col(CURRENCY).str.strip_chars().str.to_uppercase(),
        pl.col("rate").str.strip_chars().cast(pl.Float64, strict=False),
    )
    unfit = {
        "date": rates["rate_date"].is_null(),
        CURRENCY: ~rates[CURRENCY].str.contains(_CODE).fill_null(value=False),
        "rate": ~(rates["rate"].is_finite() & (rates["rate"] > 0)).fill_null(value=False),
    }
    for field, rows in unfit.items():
        if rows.any():
            at = int(rows.arg_true()[0])
            shown = raw[field][at]
            raise InvalidInput(f"The rates {path}: row {at + 1}, {field}: {shown!r} can't be used.")
    return rates
