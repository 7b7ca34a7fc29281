"""Versions of features: hashes of what is computed, never of the words that describe it.

A feature's definition is its name, its type, and either the aggregate that the fold computes (kind, key and
parameters) or the Polars expression, together with the definitions of the features that the expression reads.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from fraud_pipelines.features.catalog import FEATURES
from fraud_pipelines.features.declarations import Feature
from fraud_pipelines.features.derived import DERIVED, Derived

FOLD_VERSION: Final = "1"
"""Raised when the fold computes another value, or another null, from the same declaration."""


_EXPRESSIONS_THEN: Final[Mapping[str, str]] = {
    "amount": "1f242daef337",
    "hour_of_day": "4fffb900a758",
    "day_of_week": "62ae48f87c84",
    "is_weekend": "301cdacec4e5",
    "is_night": "2e7ddebdb4c5",
    "impossible_travel": "5af6283ca186",
}
"""The definitions of the expressions that shipped when versions were hashes of words, see `version_by_words`."""


def feature_version(
    names: Iterable[str], *, features: Mapping[str, Feature] = FEATURES, derived: Sequence[Derived] = DERIVED
) -> str:
    """A hash of how these features are computed; their order, and names that are no features, don't count."""
    known = definitions(features, derived)
    chosen = [known[name] for name in sorted(set(names)) if name in known]
    return _hash(chosen)


def version_by_words(
    names: Collection[str], *, features: Mapping[str, Feature] = FEATURES, derived: Sequence[Derived] = DERIVED
) -> str | None:
    """The version that releases before `feature_version` gave these features, a hash of their words.

    Models of such a release carry it, and go on scoring until they are retrained. None where an expression that
    shipped then is another one now.
    """
    known = definitions(features, derived)
    if any(known.get(name) != _EXPRESSIONS_THEN[name] for name in _EXPRESSIONS_THEN.keys() & set(names)):
        return None
    words = [
        (name, feature.formula, feature.window, feature.null_rule)
        for name, feature in features.items()
        if name in names
    ]
    return hashlib.sha256(repr(words).encode()).hexdigest()[:12]


def definitions(features: Mapping[str, Feature], derived: Sequence[Derived]) -> dict[str, str]:
    """Feature → what it is computed from, as a hash of 12 hexadecimal digits.

    An expression reads columns of the transaction, features of the fold and derived features above its own.
    """
    expressions = {each.feature.name for each in derived}
    known = {
        name: _hash(name, str(feature.dtype), FOLD_VERSION, feature.computed)
        for name, feature in features.items()
        if name not in expressions
    }
    for each in derived:
        meta = each.expression.meta
        # A pattern names no columns: it may read whatever there is so far.
        reads = known.keys() if meta.has_multiple_outputs() else known.keys() & set(meta.root_names())
        known[each.feature.name] = _hash(
            each.feature.name, meta.serialize(format="json"), [known[name] for name in sorted(reads)]
        )
    return known


def _hash(*content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]
