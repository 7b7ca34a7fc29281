"""Label features see what was known before the payment, of its own entity, however rows are cut or stored."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import cast

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.evaluation.outcomes import matured_window
from fraud_pipelines.features.known_labels import LabelLookup
from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.plan.compile import compile_plan, plan_in_force
from fraud_pipelines.plan.types import Aggregate, EntityPlan
from fraud_pipelines.settings import Settings
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.features.label_oracle import Value, label_features
from fraud_pipelines_tests.features.label_samples import (
    AGGREGATES,
    DAY,
    ENTITIES,
    INSTANT,
    READ,
    busy_days,
    labels,
    looked_up,
)
from fraud_pipelines_tests.features.oracle import Label, Transaction
from fraud_pipelines_tests.features.random_transactions import START, frame, label_frame, transactions

EXAMPLES = examples(40)


def lookups(rows: Sequence[Transaction], known: Sequence[Label]) -> list[LabelLookup]:
    events = LabelEvents.of(ENTITIES, frame(list(rows)), label_frame(list(known)))
    return [LabelLookup.of(entity, events) for entity in READ]


@EXAMPLES
@given(transactions(max_size=40), st.data())
def test_every_feature_agrees_with_its_plain_definition_to_the_bit(
    rows: list[Transaction], data: st.DataObject
) -> None:
    known = data.draw(labels(rows))
    for lookup in lookups(rows, known):
        assert looked_up(lookup, rows) == [label_features(lookup.entity, row, rows, known) for row in rows]


@EXAMPLES
@given(transactions(max_size=40), st.data())
def test_the_bits_depend_on_no_cut_and_no_order(rows: list[Transaction], data: st.DataObject) -> None:
    known = data.draw(labels(rows))
    cut = data.draw(st.integers(min_value=0, max_value=len(rows)))
    shuffled = lookups(data.draw(st.permutations(rows)), data.draw(st.permutations(known)))
    for lookup, other in zip(lookups(rows, known), shuffled, strict=True):
        whole = looked_up(lookup, rows)
        assert looked_up(other, rows[:cut]) + looked_up(other, rows[cut:]) == whole
        assert [value for row in rows for value in looked_up(other, [row])] == whole


@EXAMPLES
@given(transactions(max_size=40), st.data())
def test_a_shard_that_knows_its_own_entities_alone_gets_the_same_bits(
    rows: list[Transaction], data: st.DataObject
) -> None:
    known = data.draw(labels(rows))
    events = LabelEvents.of(ENTITIES, frame(rows), label_frame(known))
    shard = data.draw(st.lists(st.sampled_from(rows), min_size=1))
    for entity in READ:
        keys = frame(shard).select(entity.key).drop_nulls().unique(maintain_order=True)
        assert looked_up(LabelLookup.of(entity, events, keys), shard) == looked_up(
            LabelLookup.of(entity, events), shard
        )


@EXAMPLES
@given(transactions(max_size=40), st.data())
def test_labels_that_become_known_later_change_nothing(rows: list[Transaction], data: st.DataObject) -> None:
    known = data.draw(labels(rows))
    instant = data.draw(st.sampled_from(rows))["timestamp"]
    so_far = [label for label in known if label["known_at"] < instant]
    earlier = [row for row in rows if row["timestamp"] <= instant]
    for lookup, past in zip(lookups(rows, known), lookups(earlier, so_far), strict=True):
        assert looked_up(lookup, earlier) == looked_up(past, earlier)


def test_positions_of_entities_give_what_their_keys_give() -> None:
    rows, known = busy_days()
    for lookup in lookups(rows, known):
        asked = frame(rows).select(
            lookup.entity.key,
            instant=pl.col("timestamp").to_physical(),
            known=~pl.any_horizontal(pl.col(lookup.entity.key).is_null()),
        )
        codes = asked.join(lookup.keys.with_row_index("code"), on=lookup.entity.key, how="left", maintain_order="left")
        found = lookup.features(
            codes["code"].cast(pl.Int64).fill_null(-1).to_numpy().copy(),
            asked["known"].to_numpy(),
            asked["instant"].to_numpy().copy(),
        )
        assert pl.DataFrame(found).fill_nan(None).to_dicts() == looked_up(lookup, rows)


PAYMENT: Transaction = {
    "transaction_id": "first",
    "user_id": "u",
    "timestamp": START,
    "amount": 1.0,
    "merchant_id": "m",
    "device_fingerprint": None,
    "country": None,
}


def pair(verdicts: Sequence[tuple[str, bool, timedelta]], later: timedelta) -> dict[str, Value]:
    """Features of a transaction ``later`` than another of the same user, with labels (source, fraud, known after)."""
    second: Transaction = {**PAYMENT, "transaction_id": "second", "timestamp": START + later}
    known: list[Label] = [
        {"transaction_id": "first", "source": source, "actual_fraud": fraud, "known_at": START + after}
        for source, fraud, after in verdicts
    ]
    user, *_ = lookups([PAYMENT, second], known)
    [found] = looked_up(user, [second])
    return found


def test_a_chargeback_after_48_days_is_seen_by_the_next_payment() -> None:
    late = [("chargeback", True, 48 * DAY)]
    wide = EntityPlan("user", ("user_id",), (Aggregate("count_60d", "fraud_count", over=60 * DAY), AGGREGATES[3]))
    known: list[Label] = [
        {"transaction_id": "first", "source": "chargeback", "actual_fraud": True, "known_at": START + 48 * DAY}
    ]
    lookup = LabelLookup.of(wide, LabelEvents.of([wide], frame([PAYMENT]), label_frame(known)))
    after = [{**PAYMENT, "timestamp": START + 48 * DAY + wait} for wait in (timedelta(0), INSTANT, 13 * DAY)]
    day = DAY / INSTANT
    assert looked_up(lookup, cast(list[Transaction], after)) == [
        {"count_60d": 0, "since": None},
        {"count_60d": 1, "since": (48 * day + 1) / day},
        {"count_60d": 0, "since": 61.0},
    ]
    assert pair(late, 48 * DAY + INSTANT)["count_30d"] == 0


@pytest.mark.parametrize(
    ("later", "count", "n", "unshrunk"),
    [
        (DAY, 0, 0, 0.005),  # known at this very instant
        (DAY + INSTANT, 1, 1, 1.0),  # far too young, and known
        (14 * DAY - INSTANT, 1, 1, 1.0),
        (14 * DAY, 1, 1, 0.005),  # the rate of 7 d that begins 7 d before is over
        (30 * DAY - INSTANT, 1, 1, 0.005),
        (30 * DAY, 0, 1, 0.005),
        (37 * DAY - INSTANT, 0, 1, 0.005),
        (37 * DAY, 0, 0, 0.005),
    ],
)
def test_windows_open_and_close_to_the_microsecond(later: timedelta, count: int, n: int, unshrunk: float) -> None:
    found = pair([("review", True, DAY)], later)
    assert (found["count_30d"], found["n_30d"], found["unshrunk_7d"]) == (count, n, unshrunk)


def test_only_the_denominator_waits_for_what_may_still_be_labelled() -> None:
    assert pair([], 7 * DAY - INSTANT)["n_30d"] == 0
    assert pair([], 7 * DAY)["n_30d"] == 1
    assert pair([("review", False, DAY)], 2 * DAY)["n_30d"] == 1
    assert pair([("review", False, DAY)], 8 * DAY)["n_30d"] == 1  # once, not twice


def test_the_last_outcomes_are_those_known_by_now_in_order_of_payment() -> None:
    payments: list[Transaction] = [
        {**PAYMENT, "transaction_id": str(number), "timestamp": START + number * DAY} for number in range(10)
    ]
    known: list[Label] = [
        {"transaction_id": name, "source": "review", "actual_fraud": fraud, "known_at": START + at}
        for name, fraud, at in [("0", True, 9 * DAY), ("6", True, 7 * DAY), ("8", False, 8.5 * DAY)]
    ]
    user, *_ = lookups(payments, known)
    found = looked_up(user, payments)
    # After a week without a label the first counts as legitimate. Of the sixth is known on the next day what it was.
    assert [row["last_1"] for row in found] == [None] * 7 + [0.0, 1.0, 0.0]
    assert found[9]["last_3"] == 1 / 3  # the second, the sixth and the eighth; the review of the first is too late


def test_a_rate_is_shrunk_towards_its_prior() -> None:
    assert pair([], 8 * DAY)["rate_30d"] == 1.5 / (1 + 1.5 / 0.02)
    assert pair([("review", True, DAY)], 8 * DAY)["rate_30d"] == (1 + 1.5) / (1 + 1.5 / 0.02)
    assert pair([], INSTANT)["rate_30d"] == pytest.approx(0.02, abs=1e-15)


def test_a_chargeback_overrules_a_review_once_it_is_known() -> None:
    cleared = [("review", True, DAY), ("chargeback", False, 9 * DAY)]
    assert (pair(cleared, 9 * DAY)["count_30d"], pair(cleared, 9 * DAY)["since"]) == (1, 9.0)
    after = pair(cleared, 9 * DAY + INSTANT)
    assert (after["count_30d"], after["since"], after["n_30d"]) == (0, None, 1)
    convicted = [("review", False, 10 * DAY), ("chargeback", True, DAY)]
    assert pair(convicted, 11 * DAY)["count_30d"] == 1


def test_the_latest_fraud_is_the_one_before_where_a_correction_clears_it() -> None:
    payments: list[Transaction] = [
        {**PAYMENT, "transaction_id": str(number), "timestamp": START + number * DAY} for number in range(6)
    ]
    known: list[Label] = [
        {"transaction_id": name, "source": "review", "actual_fraud": fraud, "known_at": START + at}
        for name, fraud, at in [("0", True, DAY / 2), ("2", True, 2.5 * DAY), ("2", False, 3.5 * DAY)]
    ]
    user, *_ = lookups(payments, known)
    assert [row["since"] for row in looked_up(user, payments)] == [None, 1.0, 2.0, 1.0, 4.0, 5.0]


def test_features_and_evaluation_read_one_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_LABEL_DELAY_DAYS", "3")
    monkeypatch.setenv("FRAUD_DATA_DIR", str(tmp_path))
    read = Settings.from_environment()
    delay = read.label_delay_days * DAY
    now = START + 20 * DAY
    window = matured_window(now.date(), label_delay_days=read.label_delay_days, evaluation_days=1)
    assert window == ((now - delay).date(), (now - delay).date())

    merchant = next(entity for entity in plan_in_force(read).entities if entity.name == "merchant")
    payments: list[Transaction] = [
        {**PAYMENT, "transaction_id": str(at), "timestamp": at} for at in (now - delay, now - delay + INSTANT, now)
    ]
    lookup = LabelLookup.of(merchant, LabelEvents.of([merchant], frame(payments)))
    [*_, found] = looked_up(lookup, payments)
    assert [found[f"merchant_risk_{days}d_payments"] for days in (1, 7, 30)] == [1, 1, 1]

    usual, changed = compile_plan(), plan_in_force(read)
    differing = {name for name, each in changed.features.items() if each.definition != usual.features[name].definition}
    assert differing == {f"merchant_risk_{span}{end}" for span in ("1d", "7d", "30d") for end in ("", "_payments")} | {
        f"merchant_last_labels_{count}" for count in (1, 3, 5, 10, 20)
    }
    assert plan_in_force(Settings(data_dir=tmp_path)).version == usual.version
