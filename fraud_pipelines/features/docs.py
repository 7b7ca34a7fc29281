"""The page that describes every feature, written from the declarations.

``python -m fraud_pipelines.features.docs`` writes it to docs/features.md.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fraud_pipelines.features.program import folded, from_labels
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.plan import Plan, PlannedFeature

PAGE: Final = Path(__file__).parents[2] / "docs" / "features.md"

_INTRODUCTION: Final = """# Features

The columns of `features.transaction_features`, after the keys `transaction_id`, `user_id`, `timestamp` and
`event_date`, as they ship. This page is written from the declarations by `python -m fraud_pipelines.features.docs`;
edit those, not this. A `fraud.yaml` of your own adds to them: [declarations.md](declarations.md).

- *Order.* Transactions of an entity (a user, a device, a merchant) are taken in order (timestamp, transaction_id).
  Windows include the transaction itself unless said otherwise. A span of length w at time t is (t − w, t]; of equal
  times only those earlier in that order count. x is the value that the feature is about, n the number of values in the
  window, i the position in that order.
- *Null* means that there is too little history, or that a column is unknown. It is never a made-up zero; the
  encoder of a model fills it.
- *Young histories.* A profile (`user_z` and its like) draws what n earlier values say to what is usual among all
  payments, which counts as `pull` further ones. M is their median, U their 95th percentile and W = max(`share` × M,
  (U − M) / 1.645) how far they spread: of the 28 days before the payment's day, among payments of the same
  `merchant_category` if there are 30 of them, else among all if there are 30, each rounded to the middle of one of 32
  bins between a power of two and the next. In a history of fewer than ten values those of at most `tiny` × M don't
  count: verifications of a card are no history. Without any history a value is compared with M, U and W alone. On the
  first days, with fewer than 30 payments before, nothing is drawn, only values of 0 don't count in a young history, and
  without a history a profile is 0. The counts of each day are in `features.population`; a late payment marks later days
  in `raw.stale_days` only where a figure becomes another.
- *What is kept of an entity.* `features.{entity}_history` has a row for each day on which the entity was active: how
  many transactions it has had, the time of the last, and as `state` what the windows can still reach, packed as
  `fraud_pipelines/features/kernel.py` says. `declaration` names what is kept: a state kept under another declaration
  is never continued.
- *Cold start.* An entity that is declared later than the first day was derived has no past. A feature of it is null
  until the span it looks back on has passed since; what looks at rows, whenever they were, is null until
  `fraud-pipelines features rebuild` has folded the stored transactions from the first on.
"""

_LABELS: Final = """\
A payment at t sees the labels with `known_at` < t and earlier transactions of its entity, none of the instant t itself.
A transaction is a known fraud if the label in force says so: the latest of its source, and once a chargeback is known
no review counts. Counts and recency see a fraud as soon as it is known. A rate is (k + a) / (n + a / p), with k known
frauds among n transactions: those that are old enough to be labelled (`FRAUD_LABEL_DELAY_DAYS`), and the younger ones
that are labelled already. [How each is defined](declarations.md#features-from-labels).
"""


def features_page(plan: Plan) -> str:
    """The page, as Markdown."""
    sections = [_INTRODUCTION]
    for entity in plan.entities:
        names = [each.name for each in folded(entity)]
        sections += _section(f"From the history of each {entity.name}, by {_listed(entity.key)}", plan, names)
    for entity in plan.entities:
        names = [each.name for each in from_labels(entity)]
        sections += _section(f"From what labels have said of each {entity.name}", plan, names, _LABELS)
    sections += _section("Without a history", plan, [each for each, of in plan.features.items() if of.entity is None])
    return "\n".join(sections).rstrip() + "\n"


def _section(title: str, plan: Plan, names: Sequence[str], note: str = "") -> list[str]:
    if not names:
        return []
    rows = [_row(plan.features[name]) for name in names]
    head = "| feature | type | meaning | formula | null |\n|---|---|---|---|---|"
    return [f"## {title}\n", *([note] if note else []), head, *rows, ""]


def _row(feature: PlannedFeature) -> str:
    cells = (
        f"`{feature.name}`",
        str(feature.dtype),
        feature.description,
        feature.formula,
        feature.null_rule,
    )
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _listed(columns: Sequence[str]) -> str:
    return " and ".join(f"`{column}`" for column in columns)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(features_page(shipped_plan()), encoding="utf-8")
