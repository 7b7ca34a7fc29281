"""The page that describes every feature, written from the declarations.

``python -m fraud_pipelines.features.docs`` writes it to docs/features.md.
"""

from pathlib import Path
from typing import Final, get_args

from fraud_pipelines.features.catalog import FEATURES
from fraud_pipelines.features.declarations import ENTITIES, LABEL_DELAY, Entity, Feature, Group, span_length

PAGE: Final = Path(__file__).parents[2] / "docs" / "features.md"

_SECTIONS: Final[dict[Group, str]] = {
    "velocity": "Velocity: how much, and how fast",
    "lags": "Lags: what came just before",
    "time": "Time",
    "geography": "Geography",
    "derived": "Derived: how unusual for this user",
    "feedback": "Feedback: what labels have said",
}

_INTRODUCTION: Final = """# Features

The columns of `features.transaction_features`, after the keys `transaction_id`, `user_id`, `timestamp` and
`event_date`. This page is written from the declarations by `python -m fraud_pipelines.features.docs`; edit those,
not this.

- *Order.* Transactions of a user (a device, a merchant) are taken in order (timestamp, transaction_id). Windows
  include the transaction itself unless said otherwise. A span of length w at time t is (t − w, t]; of equal times only
  those earlier in that order count. x is the amount, n the number of amounts in the window, i the position in that
  order.
- *Null* means that there is too little history, or that a column is unknown. It is never a made-up zero; the
  encoder of a model fills it.
- *Where to change what.* Windows, statistics, lags, spans and entities: `fraud_pipelines/features/declarations.py`.
  A feature that needs no history is one Polars expression in `fraud_pipelines/features/derived.py`. After a change to
  windows or spans, derive the features again from the first day on: the histories hold only what the declared
  windows can reach.
"""


def features_page() -> str:
    """The page, as Markdown."""
    sections = [_INTRODUCTION, "## What is kept of each entity\n", *(_kept(entity) for entity in ENTITIES), ""]
    for group in get_args(Group):
        members = [feature for feature in FEATURES.values() if feature.group == group]
        if members:
            sections.append(f"## {_SECTIONS[group]}\n")
            sections.append("| feature | type | meaning | formula | window | null |\n|---|---|---|---|---|---|")
            sections += [_row(feature) for feature in members]
            sections.append("")
    return "\n".join(sections).rstrip() + "\n"


def _kept(entity: Entity) -> str:
    kept = []
    if entity.average:
        kept.append("number and sum of all amounts")
    if entity.kept_amounts:
        kept.append(f"the last {entity.kept_amounts} amounts")
    if entity.spans:
        kept.append(f"the timestamps of the last {max(entity.spans, key=span_length)}")
    if entity.kept_counts:
        kept.append(f"the last {entity.kept_counts} counts")
    if entity.profile:
        kept.append(f"the timestamps of outsized amounts of the last {entity.profile.outsized_for.days}d")
    kept += [f"the last {column}" for column in entity.changes]
    line = f"- `features.{entity.name}_history`, by `{entity.column}`: {', '.join(kept)}."
    spans = (*entity.risks, *entity.fraud_counts)
    if spans:
        line += f" Labels of {', '.join(spans)}, which end {LABEL_DELAY} before, are looked up."
    return line


def _row(feature: Feature) -> str:
    cells = (
        f"`{feature.name}`",
        str(feature.dtype),
        feature.description,
        feature.formula,
        feature.window,
        feature.null_rule,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(features_page(), encoding="utf-8")
