"""Lineage: which columns of transactions and labels a feature is computed from."""

from collections.abc import Mapping
from dataclasses import dataclass

from fraud_pipelines.features.catalog import FEATURES, KEY_COLUMNS
from fraud_pipelines.features.derived import DERIVED
from fraud_pipelines.transactions.schema import TRANSACTION_COLUMNS

_OF_A_LABEL = ("transaction_id", "actual_fraud", "known_at")


@dataclass(frozen=True)
class Read:
    """Columns of ``raw.transactions`` and of ``feedback.labels``, each in the order of the alphabet."""

    transactions: tuple[str, ...]
    labels: tuple[str, ...] = ()


def columns_read() -> Mapping[str, Read]:
    """For each column of ``features.transaction_features``: what it is computed from, however many steps away.

    A feature of the fold looks at the entity's rows in order of time, so that the time is among its columns.
    """
    reads = {name: Read((name,)) for name in KEY_COLUMNS}
    expressions = {each.feature.name: each.expression for each in DERIVED}
    for name, feature in FEATURES.items():
        if name in expressions:
            used = expressions[name].meta.root_names()
            found = [reads.get(each) or Read((each,)) for each in used if each in reads or each in TRANSACTION_COLUMNS]
        else:
            columns = {each for each in feature.computed if isinstance(each, str) and each in TRANSACTION_COLUMNS}
            found = [Read(tuple(columns | {"timestamp"}), _OF_A_LABEL if feature.group == "feedback" else ())]
        reads[name] = Read(
            tuple(sorted({column for each in found for column in each.transactions})),
            tuple(sorted({column for each in found for column in each.labels})),
        )
    return reads
