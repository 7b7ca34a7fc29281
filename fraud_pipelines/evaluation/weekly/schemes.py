"""Ratios that card schemes and European payment law look at, from what is stored.

The fraud rate is that of Commission Delegated Regulation (EU) 2018/389, Article 19(1): the value of fraudulent remote
payments over the value of all remote payments, over 90 days; its annex has the reference rates that let a provider do
without strong authentication up to an amount (Article 18). What is stored says neither which payments are remote nor
by which instrument, so all are counted.

The dispute ratio follows Visa's VAMP, which counts reported frauds and disputes of a calendar month over the payments
settled in it, and Mastercard's Excessive Chargeback Merchant, which takes the chargebacks of a month over the payments
of the month before (both as acquirers describe them; the schemes' own rules are not public). Only chargebacks of frauds
are stored, each once: a scheme's own figure can only be higher.
"""

import math
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from fraud_pipelines.evaluation.proportions import proportion, value_rate
from fraud_pipelines.evaluation.weekly.cuts import MOST_ROWS, Known
from fraud_pipelines.evaluation.weekly.table import FEWEST, Cell, Column, Estimate

WINDOW_DAYS: Final = 90
"""RTS (EU) 2018/389, Article 19(1)."""
REFERENCE_RATES: Final = ((100, 0.0013), (250, 0.0006), (500, 0.0001))
"""Of remote electronic card-based payments, by the exemption threshold in euros: RTS (EU) 2018/389, Annex."""
FEWEST_SETTLED: Final = 100
"""With fewer payments in a month no dispute ratio of a merchant is told."""

_HERE: Final = Path(__file__).parent

DISPUTE_COLUMNS: Final = (
    Column("month", "text"),
    Column("disputes"),
    Column("settled"),
    Column("of the month's payments", "rate"),
    Column("of the month before's, basis points", "basis points"),
)
RATE_COLUMNS: Final = (
    Column("days"),
    Column("value of payments", "money"),
    Column("value of frauds", "money"),
    Column("fraud rate by value", "rate"),
)


def disputes(known: Known) -> list[list[Cell]]:
    """A row of `DISPUTE_COLUMNS` for each merchant and month of the last three with the most disputes."""
    first = _month_before(_month_before(known.as_of.replace(day=1)))
    rows = known.warehouse.read(
        (_HERE / "disputes.sql").read_text(),
        {
            "earliest": _month_before(first),
            "first": first,
            "last": known.as_of,
            "known_before": known.as_of + timedelta(days=1),
            "most": MOST_ROWS,
        },
    )
    return [
        [merchant, f"{month:%Y-%m}", number, settled, _ratio(number, settled), _ratio(number, before)]
        for merchant, month, number, settled, before in rows.iter_rows()
    ]


def fraud_rate(known: Known) -> list[list[Cell]]:
    """Two rows of `RATE_COLUMNS`: by the frauds known, and with those that are still to be reported."""
    days = known.warehouse.read(
        (_HERE / "executed.sql").read_text(),
        {
            "first": known.as_of - timedelta(days=WINDOW_DAYS - 1),
            "last": known.as_of,
            "known_before": known.as_of + timedelta(days=1),
        },
    )
    total = math.fsum(days["amount"])
    at_once, late = ([float(each) for of_day in days[name] for each in of_day] for name in ("frauds", "late_frauds"))
    reported = known.chargebacks.reported(dict(days.select("event_date", "payments").iter_rows()))
    rows: list[list[Cell]] = [_rate_row("known frauds", days.height, [*at_once, *late], total)]
    name = "with those still to be reported"
    if not reported.half_in:
        return [*rows, [name, days.height, total, None, Estimate(None, why="not known yet")]]
    stand_for = [reported.frauds_per_chargeback * value for value in late]
    return [*rows, _rate_row(name, days.height, [*at_once, *stand_for], total)]


def _rate_row(name: str, days: int, values: list[float], total: float) -> list[Cell]:
    return [name, days, total, math.fsum(values), Estimate.told(value_rate(values, total), len(values))]


def exemptions(known: Cell, every: Cell) -> str:
    """What the annex's reference rates mean for the fraud rate, in sentences.

    Args:
        known: the rate by the frauds known.
        every: with those still to be reported.
    """
    rates = ", ".join(f"{reference:.2%} up to {amount} euros" for amount, reference in REFERENCE_RATES)
    told = f"Reference rates of remote card payments: {rates}."
    if isinstance(every, Estimate) and every.high is not None:
        held = [amount for amount, reference in REFERENCE_RATES if every.high <= reference]
        return f"{told} The upper bound lies below {f'that up to {max(held)} euros' if held else 'none of them'}."
    if isinstance(known, Estimate) and known.low is not None:
        above = [amount for amount, reference in REFERENCE_RATES if known.low > reference]
        return f"{told} " + (
            f"The known frauds alone lie above that up to {min(above)} euros."
            if above
            else "Whether the rate is below them isn't known yet."
        )
    return f"{told} At least {FEWEST} known frauds are needed to compare."


def _ratio(number: int, of: int | None) -> Estimate:
    if of is None:
        return Estimate(None, why="not all stored")
    return Estimate.told(proportion(min(number, of), of), of, fewest=FEWEST_SETTLED)


def _month_before(first: date) -> date:
    return (first - timedelta(days=1)).replace(day=1)
