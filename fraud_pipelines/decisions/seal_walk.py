"""Walks along the seals of the decision log: each covers what an append added, and the seal before it."""

from collections.abc import MutableMapping
from datetime import datetime

import polars as pl

from fraud_pipelines.decisions.chain_walk import ChainWalk, Findings, Span, WalkKey
from fraud_pipelines.decisions.hash_chain import EMPTY_CHAIN, GENESIS, ChainHead, Link, root_hash


class SealWalk:
    """How far the seals were verified, and what was found.

    Attributes:
        head: the last seal, or the last append of a release before seals.
        came_by_wanted: whether one of them has the hash that was asked for.
    """

    def __init__(self, wanted_hash: str | None) -> None:
        self.head = EMPTY_CHAIN
        self.came_by_wanted = wanted_hash == GENESIS
        self.findings = Findings()
        self._wanted_hash = wanted_hash

    def take(self, seals: pl.DataFrame, walks: MutableMapping[WalkKey, ChainWalk]) -> None:
        """Verify the next seals, and tell the walks what these say is to come.

        Args:
            seals: the columns of ``scoring.decision_chain``, by ``sequence``.
            walks: by chain; a chain that is sealed for the first time is added.
        """
        columns = ("sequence", "entries", "channel", "head_hash", "appended_at", "previous_root", "heads")
        for sequence, entries, channel, head, appended_at, previous, heads in seals.select(columns).iter_rows():
            first = sequence - entries + 1
            if first > self.head.sequence + 1:
                unsealed = f"{self.head.sequence + 1} to {first - 1}"
                self.findings.add("seal gap", f"the seal of the entries {unsealed} is missing")
            if heads is None:
                _expect(walks, None, first, sequence, head)
            else:
                name = f"the seal of the entries {first} to {sequence} ({channel}, {appended_at:%Y-%m-%d %H:%M:%S})"
                if previous != self.head.hash:
                    gone = "one of them was changed, moved, or removed"
                    self.findings.add("seal link", f"{name} does not follow the seal before it: {gone}")
                links = _links(heads, entries)
                if not links or not _sealed(head, previous, sequence, channel, appended_at, heads):
                    self.findings.add("seal", f"{name} was changed: its content no longer has its hash")
                for link in links:
                    _expect(walks, link.chain, first, first + link.entries - 1, link.head)
                    first += link.entries
            self.came_by_wanted |= head == self._wanted_hash
            self.head = ChainHead(sequence, head)


def _expect(walks: MutableMapping[WalkKey, ChainWalk], key: WalkKey, first: int, last: int, head: str) -> None:
    walks.setdefault(key, ChainWalk(key)).sealed.append(Span(first, last, head))


def _links(heads: list[str], entries: int) -> list[Link]:
    """What a seal names; nothing where that can't be read or doesn't add up."""
    try:
        links = [Link.parse(text) for text in heads]
    except ValueError:
        return []
    return links if sum(link.entries for link in links) == entries else []


def _sealed(
    head: str, previous: str | None, sequence: int, channel: str, appended_at: datetime, heads: list[str]
) -> bool:
    return previous is not None and root_hash(previous, sequence, channel, appended_at, heads) == head
