"""Which aggregates are kept for which entity: the one place where windows, statistics, lags and spans are chosen."""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal

import polars as pl

Group = Literal["velocity", "lags", "time", "geography", "derived", "feedback"]
Role = Literal["numeric", "hash", "label", "binary"]
Direction = Literal["high", "low", "both"]
Statistic = Literal["mean", "std", "min", "max"]

STATISTICS: Final[tuple[Statistic, ...]] = ("mean", "std", "min", "max")


@dataclass(frozen=True)
class Feature:
    """One column of ``features.transaction_features``.

    ``requires`` names the transaction columns without which the feature is null. ``role`` and ``direction`` are
    what a model schema needs to know: how to encode it, and which side of it is suspicious; ``daily`` puts it
    into the schema of the daily models, and what is not ``modelled`` no model is given. ``computed`` is what the fold
    makes it from: the kind of aggregate, its key and its parameters, as plain values; nothing for a derived feature,
    which has an expression. The other fields are words for people.
    """

    name: str
    description: str
    formula: str
    window: str
    null_rule: str
    group: Group
    computed: tuple[object, ...] = ()
    dtype: pl.DataType = field(default_factory=pl.Float64)
    role: Role = "numeric"
    direction: Direction = "high"
    requires: tuple[str, ...] = ()
    daily: bool = False
    modelled: bool = True


@dataclass(frozen=True)
class Profile:
    """How far an amount lies from the entity's previous ``window`` amounts.

    Spreads are shrunk toward ``share`` × location with the weight of ``weight`` observations, so that a young
    history does not explode. A z above ``outsized_z`` marks an amount as outsized for ``outsized_for``.
    """

    window: int = 50
    weight: float = 5.0
    share: float = 0.5
    outsized_z: float = 4.0
    outsized_for: timedelta = timedelta(days=14)


@dataclass(frozen=True)
class Entity:
    """The aggregates of all transactions that share a value of ``column``, in order (timestamp, transaction_id).

    Attributes:
        name: names the history table, ``features.{name}_history``.
        column: the transaction column that holds the entity's id; rows where it is null have null features.
        prefix: put before each feature's name, empty for the user.
        windows: rolling statistics of the amount over the last so many transactions, this one included.
        statistics: which of mean, std (ddof 1), min and max.
        lags: the amount so many transactions ago.
        spans: transactions in (t − span, t]; a span is a number of minutes, hours or days: "30m", "1h", "7d".
        count_means: rolling mean of the count of one span, over so many transactions.
        gaps: minutes and days since the previous transaction.
        changes: columns of which to tell whether the value differs from the previous transaction's.
        average: the amount over the mean of all previous ones.
        profile: how unusual the amount is among the previous ones.
        risks: fraud rate of the transactions of so many days, which end `LABEL_DELAY` before this one.
        fraud_counts: number of frauds among them.
    """

    name: str
    column: str
    prefix: str = ""
    windows: tuple[int, ...] = ()
    statistics: tuple[Statistic, ...] = STATISTICS
    lags: tuple[int, ...] = ()
    spans: tuple[str, ...] = ()
    count_means: tuple[tuple[str, int], ...] = ()
    gaps: bool = False
    changes: tuple[str, ...] = ()
    average: bool = False
    profile: Profile | None = None
    risks: tuple[str, ...] = ()
    fraud_counts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(window < 1 for window in (*self.windows, *self.lags, *(window for _, window in self.count_means))):
            raise ValueError(f"{self.name}: windows and lags count transactions and must be at least 1")
        lengths = [span_length(span) for span in self.spans]
        if len(set(lengths)) < len(lengths):
            raise ValueError(f"{self.name}: two of the spans {self.spans} are equally long")
        unknown = sorted({span for span, _ in self.count_means} - set(self.spans))
        if unknown:
            raise ValueError(f"{self.name}: count_means names {unknown}, but the spans are {list(self.spans)}")
        if len({span for span, _ in self.count_means}) > 1:
            raise ValueError(f"{self.name}: count_means can follow one span only")
        if any(span_length(span) % timedelta(days=1) for span in (*self.risks, *self.fraud_counts)):
            raise ValueError(f"{self.name}: risks and fraud_counts span whole days, such as 7d")

    @property
    def kept_amounts(self) -> int:
        """How many previous amounts some window, lag or profile can still reach."""
        profile = self.profile.window if self.profile else 0
        return max(max(self.windows, default=1) - 1, max(self.lags, default=0), profile)

    @property
    def kept_counts(self) -> int:
        """How many previous counts ``count_means`` can still reach."""
        return max((window for _, window in self.count_means), default=1) - 1

    @property
    def kept_span(self) -> timedelta:
        """How far back a timestamp still matters."""
        return max((span_length(span) for span in self.spans), default=timedelta(0))

    @property
    def forgets(self) -> bool:
        """Whether a state older than `kept_span` says nothing any more."""
        return not (self.kept_amounts or self.kept_counts or self.gaps or self.changes or self.average)

    @property
    def fingerprint(self) -> str:
        """Names what a history of this entity holds; a history kept under another one can't be continued."""
        held = (
            self.column,
            self.kept_amounts,
            self.kept_span,
            [(span_length(span), self.kept_counts) for span, _ in self.count_means[:1]],
            self.changes,
            self.average,
            self.profile,
        )
        return hashlib.sha256(repr(held).encode()).hexdigest()[:12]


def span_length(span: str) -> timedelta:
    """The time that "30m", "24h" or "7d" stands for."""
    match = re.fullmatch(r"([1-9]\d*)([mhd])", span)
    if not match:
        raise ValueError(f"{span!r} is no span; write a number of minutes, hours or days, such as 30m, 24h or 7d")
    return int(match[1]) * {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}[match[2]]


USER: Final = Entity(
    name="user",
    column="user_id",
    windows=(3, 5, 10, 50),
    lags=(1, 5, 10),
    spans=("1h", "24h", "7d"),
    count_means=(("24h", 5),),
    gaps=True,
    changes=("country",),
    average=True,
    profile=Profile(),
    fraud_counts=("30d",),
)

DEVICE: Final = Entity(name="device", column="device_fingerprint", prefix="device_", spans=("24h",))

MERCHANT: Final = Entity(
    name="merchant", column="merchant_id", prefix="merchant_", spans=("24h",), risks=("1d", "7d", "30d")
)

LABEL_DELAY: Final = "7d"
"""How long labels take to arrive, in whole days: feedback features leave out what happened since."""

ENTITIES: Final[tuple[Entity, ...]] = (USER, DEVICE, MERCHANT)
"""Every entity a history is kept for. A further one needs no more than a line here."""
