"""Reason codes: sentences that tell a reviewer why a transaction stands out, from what moved its score."""

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.types import Aggregate, EntityPlan

MAX_REASONS: Final = 3
CONTEXT: Final = "also: "
"""Begins a sentence that a reviewer should know and that had no part in the decision."""
_LEAST_WEIGHT: Final = 0.1
"""What counts less than this share of the first reason is none."""

Row = Mapping[str, object]
Phrase = Callable[[Row, re.Match[str]], str | None]
"""The sentence for a feature whose name matched, given the transaction's row; None when the row says nothing."""

_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNITS: Final = {"m": "minute", "h": "hour", "d": "day"}
_MODELS: Final = {"isolation_forest": "the isolation forest", "suod": "the ensemble", "ecod": "ECOD"}
_BURST: Final = 4
"""So many payments within an hour are worth a word even if no model looked at the count."""


def reason_codes(row: Row, drivers: Sequence[tuple[str, float]], *, plan: Plan | None = None) -> list[str]:
    """One to three reasons for an alerted transaction, what counts most first, and context after them; never none.

    The reasons are the features that raised the score most, one sentence a subject: that an amount is large by four
    measures is one reason, not four. What counts less than a tenth of the first isn't mentioned. A change of country
    or a burst of payments is said in any case, since a reviewer wants to know it; where it isn't among the reasons it
    begins with `CONTEXT`.

    Args:
        row: ``transaction_id`` and the feature columns, in the table's own units.
        drivers: of the model that decided, features and what each added to the score, as they rank; any number of them.
        plan: what is declared, with the words of features that have a phrase or a description of their own; what
            ships by default.
    """
    least = _LEAST_WEIGHT * max((contribution for _, contribution in drivers), default=0.0)
    ranked = [feature for feature, contribution in drivers if contribution > 0 and contribution >= least]
    return _sentences(row, ranked, plan or shipped_plan())


def reasons_and_context(codes: Sequence[str]) -> tuple[list[str], list[str]]:
    """The reasons among ``codes``, and the context without its mark."""
    context = [code.removeprefix(CONTEXT) for code in codes if code.startswith(CONTEXT)]
    return [code for code in codes if not code.startswith(CONTEXT)], context


def as_context(sentences: list[str]) -> list[str]:
    """The sentences, each marked as one that had no part in the decision."""
    return [each if each.startswith(CONTEXT) else CONTEXT + each for each in sentences]


def _sentences(row: Row, ranked: list[str], plan: Plan) -> list[str]:
    by_subject: dict[str, str] = {}
    for feature in ranked:
        subject, sentence = _phrase(feature, row, plan)
        if sentence:
            by_subject.setdefault(subject, sentence)
        elif subject == "":
            by_subject.setdefault(feature, _plain(feature, row.get(feature), plan))
    reasons = dict(list(by_subject.items())[:MAX_REASONS])
    context: list[str] = []
    if "country" not in reasons and (journey := _country_change(row)):
        context.append(journey)
    burst = _number(row.get("tx_count_1h"))
    if "tx_count_1h" not in reasons and burst is not None and burst >= _BURST:
        context.append(_payments(burst, "in the last hour"))
    return (list(reasons.values()) or [_last_resort(row, ranked, plan)]) + as_context(context)


def _phrase(feature: str, row: Row, plan: Plan) -> tuple[str, str | None]:
    """Subject and sentence of a feature; subject "" for a feature that no phrase knows."""
    declared = plan.features.get(feature)
    if declared and declared.phrase:
        return feature, declared.phrase.replace("{value}", _value(feature, row.get(feature)))
    for entity in plan.entities if declared and declared.entity else ():
        for each in entity.aggregates if declared and entity.name == declared.entity else ():
            if each.name == feature and FUNCTIONS[each.how].labels:
                return _SUBJECTS.get(each.how, feature), _from_labels(row, entity, each)
    for pattern, subject, phrase in _PHRASES:
        if match := pattern.fullmatch(feature):
            return subject or feature, phrase(row, match)
    return "", None


_SUBJECTS: Final[Mapping[str, str]] = {"fraud_rate": "fraud rate", "last_labels": "last outcomes"}
"""Of functions from labels: what several features of one function speak about together."""
_WHICH_FRAUD: Final[Mapping[str, str]] = {
    "days_since_fraud": "latest",
    "days_since_first_fraud": "first",
    "days_since_last_fraud": "latest",
}


def _country_change(row: Row) -> str | None:
    if not (_true(row.get("country_changed")) or _true(row.get("impossible_travel"))):
        return None
    country = row.get("country")
    to = f" to {country}" if country else ""
    minutes = _number(row.get("minutes_since_last"))
    if minutes is None or minutes < 0:
        return f"country changed{to}"
    return f"country changed{to} {_duration(minutes)} after the last payment"


def _against_usual(row: Row, match: re.Match[str]) -> str | None:
    log_ratio, amount = _number(row.get("user_log_ratio")), _number(row.get("amount"))
    if log_ratio is not None and abs(log_ratio) >= math.log(1.05):
        whose = "what others usually pay" if _is_first(row) else "this customer's usual"
        sentence = f"amount is {_multiple(_plain_ratio(log_ratio, amount))} {whose}"
        if amount is None:
            return sentence
        return f"{sentence} ({_amount(amount)} against a median of {_amount(_compared_with(log_ratio, amount))})"
    return _in_spreads(row, match)


def _in_spreads(row: Row, match: re.Match[str]) -> str | None:
    z = _number(row.get(match.string))
    if match.string not in ("user_z", "user_rz") or z is None or abs(z) < 0.5:
        return None
    centre = "mean" if match.string == "user_z" else "median"
    whose = "the median of others" if _is_first(row) else f"this customer's {centre}"
    return f"amount is {abs(z):.1f} deviations {'above' if z > 0 else 'below'} {whose}"


def _is_first(row: Row) -> bool:
    """Whether it is the customer's first payment, which is compared with those of others."""
    return _number(row.get("user_earlier")) == 0


def _against_largest(row: Row, match: re.Match[str]) -> str | None:
    log_ratio = _number(row.get(match.string))
    if log_ratio is None or log_ratio == 0:
        return None
    if _is_first(row):
        return "amount is above nearly all that others pay" if log_ratio > 0 else None
    if log_ratio > 0:
        ratio = _multiple(_plain_ratio(log_ratio, _number(row.get("amount"))))
        return f"amount is {ratio} the largest of this customer's last 50 payments"
    return "amount comes near the largest of this customer's last 50 payments" if log_ratio > math.log(0.8) else None


def _against_average(row: Row, match: re.Match[str]) -> str | None:
    ratio = _number(row.get(match.string))
    if ratio is None or ratio <= 0:
        return None
    return f"amount is {_multiple(ratio)} this customer's average"


def _outsized(row: Row, match: re.Match[str]) -> str | None:
    count = _number(row.get(match.string))
    return (
        None
        if not count
        else f"{_count(count, 'earlier outsized payment')} of this customer {_within(int(match['days']), 'd')}"
    )


def _amount_itself(row: Row, _: re.Match[str]) -> str | None:
    amount = _number(row.get("amount"))
    return None if amount is None else f"amount of {_amount(amount)} stands out among all payments"


def _velocity(row: Row, match: re.Match[str]) -> str | None:
    count = _number(row.get(match.string))
    entity = match["entity"]
    place = f"{'from' if entity == 'device' else 'at'} this {entity} " if entity else ""
    return None if count is None else _payments(count, place + _within(int(match["length"]), match["unit"]))


def _sharing(row: Row, match: re.Match[str]) -> str | None:
    count = _number(row.get(match.string))
    if count is None or count < 2:
        return None
    return f"{_count(count, 'customer')} on this device {_within(int(match['length']), match['unit'])}"


def _burst_at_merchant(row: Row, match: re.Match[str]) -> str | None:
    ratio = _number(row.get(match.string))
    return None if ratio is None or ratio < 2 else f"{_multiple(ratio)} the usual traffic at this merchant"


def _novelty(row: Row, match: re.Match[str]) -> str | None:
    value = _number(row.get(match.string))
    return f"{match['what']} that is new to this customer, who seldom uses new ones" if value else None


def _unusual_hour(row: Row, match: re.Match[str]) -> str | None:
    hour = _hour(row, match)
    return f"{hour}, when this customer seldom pays" if hour else None


def _recent_velocity(row: Row, match: re.Match[str]) -> str | None:
    count = _number(row.get(match.string))
    return None if count is None else f"around {_plain_number(round(count, 1))} payments a day lately"


def _rolling(row: Row, match: re.Match[str]) -> str | None:
    value = _number(row.get(match.string))
    what = {"mean": "average", "std": "spread", "min": "smallest", "max": "largest"}[match["statistic"]]
    return None if value is None else f"{what} of the last {match['window']} amounts is {_amount(value)}"


def _earlier_amount(row: Row, match: re.Match[str]) -> str | None:
    value = _number(row.get(match.string))
    which = "the payment before" if match["back"] == "1" else f"the payment {match['back']} before"
    return None if value is None else f"{which} was {_amount(value)}"


def _pause(row: Row, match: re.Match[str]) -> str | None:
    value = _number(row.get(match.string))
    if value is None:
        return None
    minutes = value if match.string.startswith("minutes") else value * 1440
    if not 0 <= minutes < math.inf:
        return None
    if minutes >= 7 * 1440:
        return f"first payment in {_duration(minutes)}"
    return f"made {_duration(minutes)} after the last payment"


def _hour(row: Row, match: re.Match[str]) -> str | None:
    hour = _number(row.get("hour_of_day"))
    clock = "UTC" if row.get("local_time") is None else "local time"
    if hour is not None:
        return f"made at {int(hour):02d}h {clock}"
    return f"made at night (23h to 6h {clock})" if _true(row.get(match.string)) else None


def _weekday(row: Row, _: re.Match[str]) -> str | None:
    day = _number(row.get("day_of_week"))
    if day is not None and 0 <= day <= 6:
        return f"made on a {_WEEKDAYS[int(day)]}"
    return "made on a weekend" if _true(row.get("is_weekend")) else None


def _from_labels(row: Row, entity: EntityPlan, told: Aggregate) -> str | None:
    """What labels say of the entity."""
    whose = "customer" if entity.name == "user" else entity.name.replace("_", " ")
    value = _number(row.get(told.name))
    if value is None:
        return None
    if told.how in _WHICH_FRAUD:
        among = f" in the last {_days(told.over)}" if isinstance(told.over, timedelta) else ""
        return f"the {_WHICH_FRAUD[told.how]} known fraud of this {whose}{among} was {_duration(value * 1440)} ago"
    if isinstance(told.over, int):
        return _of_last(value, told.over, whose)
    assert isinstance(told.over, timedelta)
    if told.how == "fraud_count":
        return f"{_count(value, 'known fraud')} on this {whose} in the last {_days(told.over)}" if value else None
    return _rate(row, entity, told, told.over, value, whose)


def _rate(row: Row, entity: EntityPlan, told: Aggregate, over: timedelta, value: float, whose: str) -> str | None:
    """In counts: a share of few payments says little, and looks like much."""
    when = f"in the last {_days(over + timedelta(days=told.options['delay_days']))}"
    counted = (each for each in entity.aggregates if each.how == "labelled_count" and each.over == over)
    payments = next((_number(row.get(each.name)) for each in counted), None)
    if told.how != "fraud_rate" or (not payments and value <= told.options["prior"]):
        return None
    if not payments:
        return f"known frauds of this {whose}, {when}"
    weight, prior = told.options["weight"], told.options["prior"]
    # What is stored may be anything; there are no more frauds than payments.
    frauds = round(min(max(value * (payments + weight / prior) - weight, 0.0), payments))
    were = "was" if frauds == 1 else "were"
    judged = f"{_count(payments, 'payment')} whose outcome is known"
    sentence = f"{frauds:,} of this {whose}'s {judged} {were} fraud, {when}"
    return sentence if frauds > 0 else None


def _of_last(share: float, count: int, whose: str) -> str | None:
    payments = "payment" if count == 1 else f"{count} payments"
    many = "" if count == 1 else f"{share:.0%} of "
    were = "was" if count == 1 else "were"
    return f"{many}the last {payments} of this {whose} whose outcome is known {were} fraud" if share else None


def _days(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    if hours % 24:
        return _count(hours, "hour")
    return "day" if hours == 24 else _count(hours / 24, "day")


# A shared subject means that one sentence speaks for all; none means that each feature is its own subject.
def _other_model(row: Row, match: re.Match[str]) -> str | None:
    """The supervised model takes the scores of others; at 0.5 begins what one of them calls unusual."""
    score = _number(row.get(match[0]))
    return f"{_MODELS[match['backend']]} scores it {score:.2f}" if score is not None and score > 0.5 else None


_PHRASES: Final[tuple[tuple[re.Pattern[str], str, Phrase], ...]] = tuple(
    (re.compile(pattern), subject, phrase)
    for pattern, subject, phrase in (
        (r"user_log_ratio|user_z|user_rz|amount_below_usual", "usual amount", _against_usual),
        (r"amount_vs_avg", "usual amount", _against_average),
        (r"user_max_ratio", "largest amount", _against_largest),
        (r"user_big_(?P<days>\d+)d", "", _outsized),
        (r"amount", "", _amount_itself),
        (r"(?:(?P<entity>[a-z]+)_)?tx_count_(?P<length>\d+)(?P<unit>[mhd])", "", _velocity),
        (r"tx_count_rolling_mean_\d+", "", _recent_velocity),
        (r"device_users_(?P<length>\d+)(?P<unit>[hd])", "users of the device", _sharing),
        (r"merchant_burst", "", _burst_at_merchant),
        (r"(?P<what>merchant|category|device|country)_novelty", "", _novelty),
        (r"user_hour_share", "hour", _unusual_hour),
        (r"amount_rolling_(?P<statistic>mean|std|min|max)_(?P<window>\d+)", "recent amounts", _rolling),
        (r"amount_lag_(?P<back>\d+)", "earlier amount", _earlier_amount),
        (r"minutes_since_last|days_since_last_tx", "pause", _pause),
        (r"hour_of_day|is_night", "hour", _hour),
        (r"day_of_week|is_weekend", "weekday", _weekday),
        (r"country_changed|impossible_travel", "country", lambda row, _: _country_change(row)),
        (r"(?P<backend>isolation_forest|suod|ecod)_score", "other models", _other_model),
    )
)


def _last_resort(row: Row, ranked: list[str], plan: Plan) -> str:
    if ranked:
        return _plain(ranked[0], row.get(ranked[0]), plan)
    return f"unusual combination of features, with amount {_value('amount', row.get('amount'))}"


def _plain(feature: str, value: object, plan: Plan) -> str:
    """A feature that has no phrase of its own, by its description."""
    declared = plan.features.get(feature)
    column = next((each for each in plan.attributes if each.name == feature), None)
    told = declared or column
    sentence = told.description.strip().rstrip(".") if told else ""
    if not told or not sentence:
        return f"unusual {feature}: {_value(feature, value)}"
    if told.model and told.model.role == "binary" and _number(value) is not None:
        flag = re.sub(r"^1 (if|where|when) |, else 0$", "", sentence)
        return f"{_begun_small(flag)}: {'yes' if _true(value) else 'no'}"
    return f"{_begun_small(sentence)}: {_value(feature, value)}"


def _begun_small(sentence: str) -> str:
    """With a small letter at the beginning, but for an abbreviation."""
    return sentence[0].lower() + sentence[1:] if not sentence[1:2].isupper() else sentence


def _value(feature: str, value: object) -> str:
    number = _number(value)
    if number is not None:
        return _amount(number) if feature == "amount" else _plain_number(number)
    return value if isinstance(value, str) and value else "missing"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _true(value: object) -> bool:
    return bool(_number(value))


def _amount(value: float) -> str:
    return f"{value:,.2f}" if abs(value) < 1e12 else f"{value:.3g}"


def _plain_number(value: float) -> str:
    whole = value == round(value) or abs(value) >= 1000
    return f"{value:,.0f}" if whole and abs(value) < 1e12 else f"{value:.3g}"


def _exp(value: float) -> float:
    return math.exp(min(max(value, -700.0), 700.0))


def _compared_with(log_ratio: float, amount: float) -> float:
    """The median or largest amount m behind ln((amount + 1) / (m + 1))."""
    return max(0.0, (amount + 1) * _exp(-log_ratio) - 1)


def _plain_ratio(log_ratio: float, amount: float | None) -> float:
    """amount / m, as a reader would compute it; (amount + 1) / (m + 1) where m is too small to divide by."""
    compared = 0.0 if amount is None else _compared_with(log_ratio, amount)
    return amount / compared if amount is not None and compared >= 0.01 else _exp(log_ratio)


def _multiple(ratio: float) -> str:
    if ratio > 1000:
        return "over 1,000×"
    if ratio >= 10:
        return f"{round(ratio):,}×"
    return f"{ratio:.1f}×".replace(".0×", "×") if ratio >= 0.1 else f"{ratio:.2g}×"


def _count(value: float, noun: str) -> str:
    return f"{_plain_number(value)} {noun}{'' if value == 1 else 's'}"


def _within(length: int, unit: str) -> str:
    return f"in the last {_UNITS[unit]}" if length == 1 else f"in the last {length} {_UNITS[unit]}s"


def _payments(count: float, when: str) -> str:
    return f"{_count(count, 'payment')} {when}"


def _duration(minutes: float) -> str:
    minutes = min(minutes, sys.float_info.max)  # so many days are more minutes than a number can hold
    for size, noun in ((1440, "day"), (60, "hour"), (1, "minute")):
        # Below two of a unit the next smaller one says more: 90 minutes, not 1 hour.
        if minutes >= (2 * size if size > 1 else 1):
            return _count(math.floor(minutes / size), noun)
    return f"{math.floor(minutes * 60)} seconds"
