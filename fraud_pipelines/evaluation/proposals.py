"""What becomes of tuned thresholds: they are put in force, or proposed to a person, who accepts or sets others."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal

import polars as pl
from pydantic import JsonValue, ValidationError

from fraud_pipelines.decisions.policies import (
    BLOCKS,
    SET_BY_PERSON,
    TUNED_FOR,
    Policy,
    Thresholds,
    thresholds_in_force,
)
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.storage.connection import Connection, overwrite, select
from fraud_pipelines.storage.warehouse import Warehouse

TuningMode = Literal["auto", "propose"]
Origin = Literal["tuned", "kept", "accepted", "set"]
"""How a row of ``monitoring.decision_thresholds`` came about: by tuning; carried over while a proposal waits;
accepted or set by a person."""

BY_A_PERSON: Final = ("accepted", "set")
_THRESHOLDS: Final = "monitoring.decision_thresholds"
_PROPOSALS: Final = "monitoring.threshold_proposals"


@dataclass(frozen=True)
class Effect:
    """What is in force on the day after, and how that came about; ``status`` is that of the proposal, if it is one."""

    thresholds: Thresholds
    origin: Origin
    status: str | None


@dataclass(frozen=True)
class Acceptance:
    """An accepted proposal; ``again`` if it had been accepted before, and nothing was done."""

    as_of: date
    effective_date: date
    review_threshold: float
    accepted_by: str
    again: bool


def put_in_effect(
    warehouse: Warehouse, tuned: Thresholds, current: Thresholds, *, mode: TuningMode, day: date
) -> Effect:
    """Store what was tuned at the end of ``day``, in one transaction; to repeat it changes nothing.

    In mode ``auto`` the row of the day after is the tuned one. In mode ``propose`` it is a row of
    ``monitoring.threshold_proposals``, and the day after keeps the thresholds it has, or else the ``current`` ones.
    What a person accepted or set for the day after stays in either mode. A proposal supersedes the open ones of
    earlier days; one that was accepted stays as it was accepted.
    """
    with warehouse.transaction() as connection:
        there = _row(connection, tuned.policy, tuned.effective_date)
        by_a_person = there is not None and there["origin"] in BY_A_PERSON
        status = None
        if mode == "propose":
            status = _propose(connection, tuned, current, day=day)
        else:
            _supersede(connection, tuned.policy, before=day + timedelta(days=1))
        if there is not None and (by_a_person or (mode == "propose" and there["origin"] != "kept")):
            return Effect(Thresholds.from_row(there), there["origin"] or "tuned", status)
        if mode == "auto":
            _write(connection, tuned, "tuned")
            return Effect(tuned, "tuned", status)
        kept = current.model_copy(
            update={
                "effective_date": tuned.effective_date,
                "evidence": {
                    "kept_from": current.evidence.get("kept_from", current.effective_date.isoformat()),
                    "proposal_as_of": day.isoformat(),
                }
                | _still_told(current),
            }
        )
        _write(connection, kept, "kept")
        return Effect(kept, "kept", status)


def accept_proposal(
    warehouse: Warehouse, policy: str, *, by: str, now: datetime, as_of: date | None = None
) -> Acceptance:
    """Put a proposal of the policy in force from the first day that isn't decided yet, in one transaction.

    Thresholds of days already decided never change. To accept a proposal again does nothing.

    Args:
        as_of: the day of the proposal; by default the open one.

    Raises:
        MissingData: there is no such proposal, or none is open.
        InvalidInput: it was superseded, or proposes no change.
    """
    with warehouse.transaction() as connection:
        found = _proposal(connection, policy, as_of)
        if found["status"] == "accepted":
            return Acceptance(
                found["as_of"], found["effective_date"], found["review_threshold"], found["accepted_by"], again=True
            )
        if found["status"] != "open":
            raise InvalidInput(
                f"the proposal of {found['as_of']} for {policy} is {found['status'].replace('_', ' ')}; "
                "fraud-pipelines thresholds list shows which one is open"
            )
        effective = max(_first_undecided_day(connection), found["as_of"] + timedelta(days=1))
        thresholds = Thresholds.from_row(found | {"effective_date": effective})
        _write(connection, thresholds, "accepted", by=by, reason=f"proposal of {found['as_of']}")
        connection.update(
            _PROPOSALS,
            "status = 'accepted', accepted_by = ?, accepted_at = ?, effective_date = ?",
            "policy = ? AND as_of = ?",
            [by, now, effective, policy, found["as_of"]],
        )
    return Acceptance(found["as_of"], effective, thresholds.review_threshold, by, again=False)


def set_thresholds(
    warehouse: Warehouse,
    policy: Policy,
    *,
    review_threshold: float,
    by: str,
    reason: str,
) -> Thresholds:
    """A person's own review threshold, in force from the first day that isn't decided yet.

    Open proposals are superseded. In mode ``auto`` tuning goes on from this threshold, by its daily steps. The block
    threshold stays as it is, see `thresholds_in_force`.

    Raises:
        InvalidInput: the threshold lies outside [0, 1] or above the block threshold in force, or there is no reason; or
            the policy states it as a probability.
        MissingData: nothing has been decided yet.
    """
    if not reason.strip():
        raise InvalidInput("a threshold that a person sets needs a reason (--reason)")
    if policy.review_probability is not None:
        raise InvalidInput(
            f"{policy.name} reviews by review_probability, {policy.review_probability:g}: change that in the policy, "
            "or leave it out to review by a threshold"
        )
    with warehouse.transaction() as connection:
        effective = _first_undecided_day(connection)
        current = thresholds_in_force(warehouse, policy, effective)
        evidence: dict[str, JsonValue] = {"objective": SET_BY_PERSON, "reason": reason, "set_by": by}
        try:
            thresholds = Thresholds(
                effective_date=effective,
                policy=policy.name,
                review_threshold=review_threshold,
                block_threshold=current.block_threshold,
                contamination=policy.contamination,
                objective=SET_BY_PERSON,
                evidence=evidence | _still_told(current),
            )
        except ValidationError as error:
            first = error.errors()[0]
            what = f"{first['loc'][0]} {first['input']}: " if first["loc"] else ""
            raise InvalidInput(what + first["msg"].removeprefix("Value error, ")) from error
        _write(connection, thresholds, "set", by=by, reason=reason)
        _supersede(connection, policy.name, before=effective)
    return thresholds


def _still_told(thresholds: Thresholds) -> dict[str, JsonValue]:
    """Of the evidence of thresholds that go on: whose scores they are of, and why blocks begin where they do."""
    return {name: thresholds.evidence[name] for name in (TUNED_FOR, BLOCKS) if name in thresholds.evidence}


def _propose(connection: Connection, tuned: Thresholds, current: Thresholds, *, day: date) -> str:
    """Store the proposal of ``day``, and return its status."""
    stored = select(connection, f"SELECT * FROM {_PROPOSALS} WHERE policy = ? AND as_of = ?", [tuned.policy, day])
    if stored.height and stored["status"].item() == "accepted":
        return "accepted"
    overtaken = select(
        connection,
        f"""
        SELECT EXISTS (FROM {_PROPOSALS} WHERE policy = $policy AND as_of > $day)
            OR EXISTS (FROM {_THRESHOLDS} WHERE policy = $policy AND effective_date > $day AND origin = 'set')
        """,
        {"policy": tuned.policy, "day": day},
    ).item()
    unchanged = (tuned.review_threshold, tuned.block_threshold) == (current.review_threshold, current.block_threshold)
    status = "no_change" if unchanged else "superseded" if overtaken else "open"
    _supersede(connection, tuned.policy, before=day)
    content = tuned.row() | {"as_of": day, "current_review_threshold": current.review_threshold, "status": status}
    schema = select(connection, f"SELECT * FROM {_PROPOSALS} LIMIT 0").schema
    row = pl.DataFrame([content | {"effective_date": None}], schema=schema)
    overwrite(connection, _PROPOSALS, row, policy=tuned.policy, as_of=day)
    return status


def _supersede(connection: Connection, policy: str, *, before: date) -> None:
    connection.update(
        _PROPOSALS, "status = 'superseded'", "policy = ? AND status = 'open' AND as_of < ?", [policy, before]
    )


def _proposal(connection: Connection, policy: str, as_of: date | None) -> dict[str, Any]:
    """The proposal of that day; by default the open one, or, if there is none, the one accepted last."""
    rows = select(
        connection,
        f"""
        SELECT * FROM {_PROPOSALS} WHERE policy = $policy AND (
            as_of = $as_of OR ($as_of IS NULL AND status IN ('open', 'accepted')))
        ORDER BY status = 'open' DESC, as_of DESC LIMIT 1
        """,
        {"policy": policy, "as_of": as_of},
    )
    if rows.is_empty():
        raise MissingData(
            f"there is no proposal for {policy} as of {as_of}"
            if as_of
            else f"no proposal for {policy} is open. The daily run makes them where FRAUD_TUNING_MODE=propose."
        )
    return rows.row(0, named=True)


def _row(connection: Connection, policy: str, effective: date) -> dict[str, Any] | None:
    rows = select(
        connection, f"SELECT * FROM {_THRESHOLDS} WHERE policy = ? AND effective_date = ?", [policy, effective]
    )
    return rows.row(0, named=True) if rows.height else None


def _first_undecided_day(connection: Connection) -> date:
    last = select(connection, "SELECT max(event_date) FROM scoring.decisions").item()
    if not isinstance(last, date):
        raise MissingData(
            "nothing has been decided yet, so that no threshold can take effect after it. "
            "The first day is decided by the start thresholds of the policy."
        )
    return last + timedelta(days=1)


def _write(
    connection: Connection,
    thresholds: Thresholds,
    origin: Origin,
    *,
    by: str | None = None,
    reason: str | None = None,
) -> None:
    content = thresholds.row() | {"origin": origin, "decided_by": by, "reason": reason}
    schema = select(connection, f"SELECT * FROM {_THRESHOLDS} LIMIT 0").schema
    row = pl.DataFrame([content], schema=schema)
    overwrite(connection, _THRESHOLDS, row, effective_date=thresholds.effective_date, policy=thresholds.policy)
