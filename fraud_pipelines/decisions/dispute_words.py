"""What the words of a dispute export mean: reasons, states of a dispute, kinds of record."""

import re
from functools import cache
from typing import Final, Literal

Meaning = Literal["disputed", "taken_back", "nothing", "unknown"]
"""What a state or a record says of the payment: it is disputed, the dispute was taken back, nothing, or not known."""

FRAUD_REASON: Final = (
    r"(?i)fraud|unauthori[sz]ed|not authori[sz]ed|unrecogni[sz]ed|not recogni[sz]ed|counterfeit|stolen"
    r"|no cardholder auth|no[_ ]knowledge|lost card|identity theft|account takeover"
    r"|^10(\.\d+)?$|^(4837|4840|4849|4863|4870|4871)$|^F(10|14|24|29|30|31)$|^UA0[1-6]$"
)
"""Reasons that mean fraud: the words, and the codes of Visa (10.x), Mastercard, American Express and Discover."""

_NO_FRAUD: Final = re.compile(r"non[ _-]?fraud|not[ _-]?fraud|no[ _-]?fraud", re.IGNORECASE)

_AGAINST_THE_MERCHANT: Final = (
    *("wonbycardholder", "wonbycustomer", "wonbybuyer", "cardholderwon", "customerwon", "buyerwon"),
    *("buyerfavo", "buyersfavo", "cardholderfavo", "cardholdersfavo", "customerfavo", "customersfavo"),
)
_TAKEN_BACK: Final = (
    *("won", "reversed", "reversal", "takenback", "withdrawn", "cancelled", "canceled", "overturned", "retracted"),
    *("yourfavo", "sellerfavo", "sellersfavo", "merchantfavo", "merchantsfavo"),
)
_NOTHING: Final = (
    *("inquiry", "enquiry", "retrieval", "requestforinformation", "rfi", "warning", "prevented", "rapidresolution"),
    *("informationsupplied", "documentsupplied", "evidencesubmitted", "evidencesupplied", "defended", "represented"),
    *("representment", "defense", "defence", "nodispute", "notdisputed", "nochargeback"),
)
_DISPUTED: Final = (
    *("chargeback", "chargedback", "dispute", "lost", "open", "pending", "accepted", "expired", "arbitration"),
    *("compliance", "received", "created", "notification", "waiting", "response", "required", "review", "refunded"),
    *("processing", "progress"),
)
_YES: Final = frozenset({"yes", "y", "true", "t", "1"})
_NO: Final = frozenset({"no", "n", "false", "f", "0", "none", "na", "null"})


def is_fraud(reason: str) -> bool:
    """Whether a reason, in words or by its code, says that the cardholder didn't make the payment."""
    return bool(re.search(FRAUD_REASON, _NO_FRAUD.sub("", reason.strip())))


@cache
def meaning_of(text: str) -> Meaning:
    """What a dispute's state, a flag, or a kind of record says of the payment.

    A word may stand within others, in any case and with any separators; a short one, such as ``won``, only by itself.
    What takes a dispute back counts before what says nothing, and that before what opens a dispute:
    ``ChargebackReversed``, ``warning_needs_response``.
    """
    word = re.sub(r"[^a-z0-9]", "", text.lower())
    parts = {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", text)}
    if word in _YES:
        return "disputed"
    if word in _NO or not text.strip():
        return "nothing"
    meanings: tuple[tuple[Meaning, tuple[str, ...]], ...] = (
        ("disputed", _AGAINST_THE_MERCHANT),
        ("taken_back", _TAKEN_BACK),
        ("nothing", _NOTHING),
        ("disputed", _DISPUTED),
    )
    for meaning, words in meanings:
        if any(known in (word if len(known) > 4 else parts) for known in words):
            return meaning
    return "unknown"
