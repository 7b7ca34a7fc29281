"""The features an entity's declaration stands for, described, in the order in which the kernel fills them."""

from dataclasses import replace

import polars as pl

from fraud_pipelines.features.declarations import LABEL_DELAY, Entity, Feature, Profile, Statistic, span_length
from fraud_pipelines.transactions.schema import REQUIRED_COLUMNS

_STATISTIC = {
    "mean": ("Mean", "Σx / n", "never null"),
    "std": ("Standard deviation", "sqrt(Σ(x − mean)² / (n − 1))", "null with one transaction"),
    "min": ("Smallest", "min(x)", "never null"),
    "max": ("Largest", "max(x)", "never null"),
}


def entity_features(entity: Entity) -> tuple[Feature, ...]:
    """Every feature that ``entity`` declares and the fold computes."""
    whose = _whose(entity)
    features = [_rolling(entity, whose, window, name) for window in entity.windows for name in entity.statistics]
    features += [_count(entity, whose, span) for span in entity.spans]
    features += [_count_mean(entity, whose, span, window) for span, window in entity.count_means]
    features += [_lag(entity, whose, lag) for lag in entity.lags]
    if entity.gaps:
        features += [
            _gap(entity, whose, "minutes_since_last", "minutes"),
            _gap(entity, whose, "days_since_last_tx", "days"),
        ]
    features += [_changed(entity, whose, column) for column in entity.changes]
    if entity.average:
        features.append(_average(entity, whose))
    if entity.profile:
        features += _profile(entity, whose, entity.profile)
    return tuple(_identified(feature, entity.column) for feature in features)


def feedback_features(entity: Entity) -> tuple[Feature, ...]:
    """Every feature that ``entity`` declares and labels are needed for, and what is told beside them."""
    features = [_risk(entity, span) for span in entity.risks]
    features += [_fraud_count(entity, span) for span in entity.fraud_counts]
    features += [_risk_payments(entity, span) for span in entity.risks]
    return tuple(_identified(feature, entity.column) for feature in features)


def _whose(entity: Entity) -> str:
    return "The " + entity.column.removesuffix("_id").replace("_", " ") + "'s"


def _identified(feature: Feature, column: str) -> Feature:
    """The same feature, by the entity's key; of an entity that a transaction may lack."""
    keyed = replace(feature, computed=(column, *feature.computed))
    if column in REQUIRED_COLUMNS:
        return keyed
    rule = f"null without {column}" + ("" if feature.null_rule == "never null" else f"; {feature.null_rule}")
    return replace(keyed, null_rule=rule, requires=(column, *feature.requires))


def _rolling(entity: Entity, whose: str, window: int, statistic: Statistic) -> Feature:
    noun, formula, null_rule = _STATISTIC[statistic]
    return Feature(
        name=f"{entity.prefix}amount_rolling_{statistic}_{window}",
        description=f"{noun} of the amounts of {whose.lower()} last {window} transactions, this one included.",
        formula=formula,
        window=f"the last {window} transactions, fewer if there are fewer",
        null_rule=null_rule,
        group="velocity",
        computed=("rolling", "amount", statistic, window),
    )


def _count(entity: Entity, whose: str, span: str) -> Feature:
    length = _length(span)
    return Feature(
        name=f"{entity.prefix}tx_count_{span}",
        description=f"{whose} transactions in the last {length}, this one included.",
        formula=f"count in (t − {length}, t], of equal times only those with a smaller transaction_id",
        window=length,
        null_rule="never null",
        group="velocity",
        dtype=pl.Int32(),
        computed=("count", _seconds(span)),
    )


def _count_mean(entity: Entity, whose: str, span: str, window: int) -> Feature:
    return Feature(
        name=f"{entity.prefix}tx_count_rolling_mean_{window}",
        description=f"Mean of {entity.prefix}tx_count_{span} over {whose.lower()} last {window} transactions.",
        formula=f"Σ {entity.prefix}tx_count_{span} / n",
        window=f"the last {window} transactions, this one included",
        null_rule="never null",
        group="velocity",
        computed=("count_mean", _seconds(span), window),
    )


def _lag(entity: Entity, whose: str, lag: int) -> Feature:
    which = "previous transaction" if lag == 1 else f"transaction {lag} before this one"
    return Feature(
        name=f"{entity.prefix}amount_lag_{lag}",
        description=f"Amount of {whose.lower()} {which}.",
        formula=f"x[i − {lag}]",
        window=f"{lag} back",
        null_rule=f"null for the first {'transaction' if lag == 1 else f'{lag} transactions'}",
        group="lags",
        direction="both",
        computed=("lag", "amount", lag),
    )


def _gap(entity: Entity, whose: str, name: str, unit: str) -> Feature:
    return Feature(
        name=f"{entity.prefix}{name}",
        description=f"{unit.capitalize()} since {whose.lower()} previous transaction.",
        formula=f"t[i] − t[i − 1], in {unit}",
        window="1 back",
        null_rule="null for the first transaction",
        group="lags",
        direction="low",
        computed=("since_last", unit),
    )


def _changed(entity: Entity, whose: str, column: str) -> Feature:
    return Feature(
        name=f"{entity.prefix}{column}_changed",
        description=f"1 if {column} differs from that of {whose.lower()} previous transaction, else 0.",
        formula=f"{column}[i] ≠ {column}[i − 1]",
        window="1 back",
        null_rule=f"null for the first transaction, and where either {column} is unknown",
        group="geography" if column in ("country", "city") else "derived",
        dtype=pl.Int8(),
        role="binary",
        requires=(column,),
        computed=("changed", column),
    )


def _average(entity: Entity, whose: str) -> Feature:
    return Feature(
        name=f"{entity.prefix}amount_vs_avg",
        description=f"The amount as a multiple of the mean of all {whose.lower()} previous amounts.",
        formula="x[i] / (Σ x[0 … i − 1] / i)",
        window="all previous transactions",
        null_rule="null for the first transaction, and where all previous amounts were 0",
        group="derived",
        computed=("ratio_to_average", "amount"),
    )


def _profile(entity: Entity, whose: str, profile: Profile) -> list[Feature]:
    prior = f"{profile.weight:g} ({profile.share:g} × {{}})"
    n = f"n + {profile.weight:g}"
    before = f"{whose.lower()} previous {profile.window} amounts"
    days = f"{profile.outsized_for.days} d"
    window, null_rule = f"the previous {profile.window} transactions", "never null; 0 without history"
    shrunk = ("amount", profile.window, profile.weight, profile.share)
    outsized = (profile.outsized_z, profile.outsized_for.total_seconds())
    return [
        Feature(
            name=f"{entity.name}_z",
            description=f"Shrunk z-score of the amount among {before} (mean m, population standard deviation s).",
            formula=f"(x − m) / (sqrt((n s² + {prior.format('m')}²) / ({n})) + 1)",
            group="derived",
            daily=True,
            window=window,
            null_rule=null_rule,
            computed=("z", *shrunk),
        ),
        Feature(
            name=f"{entity.name}_rz",
            description=f"The same with median m and IQR of {before}, quartiles interpolated linearly.",
            formula=f"(x − m) / ((n IQR/1.349 + {prior.format('m')}) / ({n}) + 1)",
            group="derived",
            daily=True,
            window=window,
            null_rule=null_rule,
            computed=("rz", *shrunk),
        ),
        Feature(
            name=f"{entity.name}_log_ratio",
            description=f"Log ratio of the amount to the median of {before}.",
            formula="ln((x + 1) / (median + 1))",
            group="derived",
            daily=True,
            window=window,
            null_rule=null_rule,
            computed=("log_ratio", "amount", profile.window),
        ),
        Feature(
            name=f"{entity.name}_max_ratio",
            description=f"Log ratio of the amount to the largest of {before}.",
            formula="ln((x + 1) / (max + 1))",
            group="derived",
            daily=True,
            window=window,
            null_rule=null_rule,
            computed=("max_ratio", "amount", profile.window),
        ),
        Feature(
            name=f"{entity.name}_big_{days.replace(' ', '')}",
            description=f"{whose} earlier transactions in the last {days} that were outsized.",
            formula=f"count of {entity.name}_z > {profile.outsized_z:g} in (t − {days}, t], this one not included",
            group="derived",
            daily=True,
            dtype=pl.Int32(),
            window=days,
            null_rule="never null; 0 without history",
            computed=("outsized", *shrunk, *outsized),
        ),
    ]


def _risk(entity: Entity, span: str) -> Feature:
    return Feature(
        name=f"{entity.name}_risk_{span}",
        description=f"{_whose(entity)} fraud rate over {_length(span)}, as far as labels were known by now.",
        formula=f"known frauds / transactions, {_feedback_window(span)}",
        window=f"{_length(span)}, ending {_length(LABEL_DELAY)} before",
        null_rule="null if there were no transactions in the window",
        group="feedback",
        daily=True,
        computed=("fraud_rate", _seconds(span), _seconds(LABEL_DELAY)),
    )


def _risk_payments(entity: Entity, span: str) -> Feature:
    return Feature(
        name=f"{entity.name}_risk_{span}_payments",
        description=f"{_whose(entity)} transactions of which {entity.name}_risk_{span} is the rate of frauds.",
        formula=f"transactions, {_happened(span)}",
        window=f"{_length(span)}, ending {_length(LABEL_DELAY)} before",
        null_rule="never null",
        group="feedback",
        dtype=pl.Int32(),
        modelled=False,
        computed=("past_count", _seconds(span), _seconds(LABEL_DELAY)),
    )


def _fraud_count(entity: Entity, span: str) -> Feature:
    return Feature(
        name=f"{entity.name}_fraud_count_{span}",
        description=f"{_whose(entity)} frauds in {_length(span)}, as far as labels were known by now.",
        formula=f"known frauds, {_feedback_window(span)}",
        window=f"{_length(span)}, ending {_length(LABEL_DELAY)} before",
        null_rule="never null",
        group="feedback",
        daily=True,
        dtype=pl.Int32(),
        computed=("fraud_count", _seconds(span), _seconds(LABEL_DELAY)),
    )


def _feedback_window(span: str) -> str:
    return f"{_happened(span)}, labels with known_at < t"


def _happened(span: str) -> str:
    delay = _length(LABEL_DELAY)
    return f"that happened in (t − {delay} − {_length(span)}, t − {delay}]"


def _seconds(span: str) -> float:
    return span_length(span).total_seconds()


def _length(span: str) -> str:
    return f"{span[:-1]} {span[-1]}"
