"""Policies: how careful the business wants to be, and the thresholds that follow from it day by day."""

import difflib
import json
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from fraud_pipelines.decisions.audit_sample import AuditDraw
from fraud_pipelines.decisions.cases.policy import CasePolicy
from fraud_pipelines.decisions.columns import columns_in
from fraud_pipelines.decisions.probabilities import curve_in_force
from fraud_pipelines.detection.daily_models import ENSEMBLE_MODEL
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.warehouse import Warehouse

Objective = Literal["alert_budget", "max_f1", "min_cost", "min_precision", "min_recall"]
"""What tuning strives for; ``alert_budget`` alone needs no labels."""

OBJECTIVES: Final[tuple[Objective, ...]] = get_args(Objective)


SecondStage = Literal[
    "best",
    "fraud-amount",
    "fraud-autoencoder",
    "fraud-daily",
    "fraud-ensemble",
    "fraud-realtime",
    "fraud-supervised",
]
"""The registered model whose score decides; ``best``: day by day the one that is shown to be best."""

BEST: Final = "best"
"""In a policy's ``second_stage``: the model that is shown to be best."""
TUNED_FOR: Final = "second_stage"
"""In the evidence of thresholds: the model whose scores they were tuned on; where it is absent, the ensemble."""

SET_BY_PERSON: Final = "set"
"""The objective of thresholds that a person has set."""
LEAST_CAP: Final = 25
"""Alerts that any day may have, where the policy names no budget."""

TARGET_BLOCK_PRECISION: Final = 0.95
BLOCKS: Final = "blocks"
"""In the evidence of thresholds: what the block threshold was tuned by."""
BY_PROBABILITY: Final = "by_probability"
"""In the evidence of thresholds: those that the policy states as probabilities, by name."""

_LATER_FIELDS: Final[Mapping[str, object]] = {
    "gate": None,
    "block_precision": TARGET_BLOCK_PRECISION,
    "review_probability": None,
    "block_probability": None,
    "audit_per_day": 0,
    "audit_seed": 0,
    "audit_blind": False,
    "cases": CasePolicy().model_dump(),
}
"""Of a policy, with their defaults."""

_NUMBERS: Final = (
    *("review_threshold", "block_threshold", "contamination", "screening_threshold", "alert_budget", "review_cost"),
    *("loss_share", "target_precision", "target_recall", "min_labelled_frauds", "max_daily_change"),
    *("min_alerts_factor", "max_alerts_factor", "block_precision", "review_probability", "block_probability"),
    *("audit_per_day", "audit_seed"),
)
"""Of a policy, the fields that hold one."""

_SHIPPED_COLUMNS: Final = ("merchant_category", "country")
"""Fields of their own, since the hashes of segments that releases before declarations kept cover them, empty or not."""

Values = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


def _check_order(review_threshold: float | None, block_threshold: float | None) -> None:
    if review_threshold is not None and block_threshold is not None and review_threshold > block_threshold:
        raise ValueError(
            f"review_threshold {review_threshold} lies above block_threshold {block_threshold}: "
            "a transaction would be blocked that is not worth a review"
        )


def _without_unsaid(content: dict[str, object], later: Mapping[str, object]) -> dict[str, object]:
    """What a policy's or thresholds' hash covers: a later field that says no more than its default leaves the hash as
    it was without it."""
    return {key: value for key, value in content.items() if key not in later or value != later[key]}


def _no_truth_for_a_number(value: object) -> object:
    """Refuse true and false, which would be taken for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is no number")
    return value


class Segment(BaseModel):
    """Thresholds of their own for some merchant categories, some countries, or a category in a country.

    Any other text column of a transaction may be named in the same way.

    They are fixed: tuning moves the policy's threshold, not a segment's. What a segment leaves empty it takes from
    the thresholds in force; where the two would cross, what the segment says stands and the other one yields.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    __pydantic_extra__: dict[str, Values] = Field(init=False)

    name: str = Field(min_length=1)
    merchant_category: Values = Field(default=(), description="One or a list; empty means any.")
    country: Values = Field(default=(), description="One or a list; empty means any.")
    review_threshold: float | None = Field(default=None, ge=0, le=1)
    block_threshold: float | None = Field(default=None, ge=0, le=1)

    _are_numbers = field_validator("review_threshold", "block_threshold", mode="before")(_no_truth_for_a_number)

    @model_validator(mode="after")
    def _says_who_and_what(self, info: ValidationInfo) -> Self:
        columns = columns_in(info)
        for column in self.__pydantic_extra__ if columns is not None else ():
            assert columns is not None
            if columns.get(column) != "text":
                near = difflib.get_close_matches(column, [*Segment.model_fields, *columns], n=1)
                known = ", ".join(name for name in Segment.model_fields if name != "name")
                raise ValueError(
                    f"{column} is neither a field nor a text column of a transaction"
                    + (f"; did you mean {near[0]}?" if near else f"; there are {known}, and the declared columns")
                )
        if not self.selectors:
            raise ValueError("a segment needs merchant_category, country or another text column, to be less than all")
        if self.review_threshold is None and self.block_threshold is None:
            raise ValueError("a segment needs review_threshold or block_threshold, or it would change nothing")
        _check_order(self.review_threshold, self.block_threshold)
        return self

    @property
    def selectors(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Column and values, all of which a transaction of the segment has."""
        named = {column: getattr(self, column) for column in _SHIPPED_COLUMNS} | self.__pydantic_extra__
        return tuple((column, values) for column, values in named.items() if values)

    def thresholds(self, review: float, block: float) -> tuple[float, float]:
        """The review and the block threshold of the segment, where ``review`` and ``block`` are in force."""
        if self.review_threshold is None:
            assert self.block_threshold is not None
            return min(review, self.block_threshold), self.block_threshold
        if self.block_threshold is None:
            return self.review_threshold, max(block, self.review_threshold)
        return self.review_threshold, self.block_threshold


class Policy(BaseModel):
    """What the business decides: where review and block begin, what a review costs, how far tuning may go.

    Scores and thresholds lie in [0, 1] and mean the same for every model: above 0.5 is the top share
    ``contamination`` of its training traffic. Costs are in the currency of the transactions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # It becomes part of a name in MLflow, whose queries know no quotes inside quotes.
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")
    review_threshold: float = Field(ge=0, le=1, description="Start value: above it a transaction is reviewed.")
    block_threshold: float = Field(default=0.8, ge=0, le=1, description="Above it a transaction is blocked.")
    contamination: float = Field(gt=0, le=0.5, description="Share of traffic that scores above 0.5.")
    screening_threshold: float = Field(
        default=0.4, ge=0, le=1, description="Above it the screening model hands over to the ensemble."
    )
    alert_budget: float | None = Field(
        default=None, gt=0, description="Alerts a day to aim at; empty means `expected_alert_share` of the traffic."
    )
    objective: Objective = Field(default="min_cost", description="What tuning strives for once labels exist.")
    review_cost: float = Field(default=5.0, ge=0, description="Cost of one alert, reviewer and customer together.")
    loss_share: float = Field(default=1.0, ge=0, le=1, description="Share of the amount lost when a fraud is missed.")
    target_precision: float = Field(default=0.3, gt=0, le=1, description="What `min_precision` holds to.")
    target_recall: float = Field(default=0.6, gt=0, le=1, description="What `min_recall` holds to.")
    min_labelled_frauds: int = Field(
        default=20, ge=1, description="With fewer known frauds in the window, tuning keeps to the alert budget."
    )
    max_daily_change: float = Field(default=0.05, gt=0, le=1, description="The review threshold moves no further.")
    min_alerts_factor: float = Field(default=0.25, ge=0, le=1, description="Fewest alerts on a day, times the budget.")
    max_alerts_factor: float = Field(default=2.5, ge=1, description="Most alerts on a day, times the budget.")
    second_stage: SecondStage = Field(
        default="best",
        description="The model whose score decides: a registered one, or `best`, the one that matured days show to be.",
    )
    gate: bool | None = Field(
        default=None,
        description="Whether it is asked only about what the screening flags. Empty: a model named in `second_stage` "
        "and the ensemble are; what `best` chooses in the ensemble's place decides every payment.",
    )
    block_precision: float | None = Field(
        default=TARGET_BLOCK_PRECISION,
        gt=0,
        lt=1,
        description="Share of the blocks that must be frauds: tuning moves the block threshold where labels say so. "
        "Empty: it stays.",
    )
    review_probability: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Review from this probability of fraud on, in place of a tuned threshold; until probabilities are "
        "known that holds.",
    )
    block_probability: float | None = Field(
        default=None, gt=0, lt=1, description="Block from this probability of fraud on, likewise."
    )
    audit_per_day: float = Field(
        default=0,
        ge=0,
        description="Approved payments of a day's batch to expect in the audit sample, which is reviewed all the same.",
    )
    audit_seed: int = Field(default=0, ge=0, description="Another seed draws other payments.")
    audit_blind: bool = Field(
        default=False, description="Whether reviewers are shown nothing that tells an audited payment from an alert."
    )
    cases: CasePolicy = Field(default=CasePolicy(), description="How cases are worked, and how many minutes there are.")
    segments: tuple[Segment, ...] = Field(
        default=(), description="Thresholds of their own; of several that fit a transaction, the first counts."
    )

    _are_numbers = field_validator(*_NUMBERS, mode="before")(_no_truth_for_a_number)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        _check_order(self.review_threshold, self.block_threshold)
        if (self.review_probability or 0) > (self.block_probability or 1):
            raise ValueError(
                f"review_probability {self.review_probability} lies above block_probability {self.block_probability}: "
                "a transaction would be blocked that is not worth a review"
            )
        names = [segment.name for segment in self.segments]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two segments are named {repeated[0]!r}")
        return self

    @model_serializer(mode="wrap")
    def _as_before_there_were_later_fields(self, content: SerializerFunctionWrapHandler) -> dict[str, object]:
        return _without_unsaid(content(self), _LATER_FIELDS)

    @property
    def gated(self) -> bool:
        """Whether the second stage is asked only about what the screening flags."""
        return self.gate is not False

    @property
    def segment_columns(self) -> tuple[str, ...]:
        """The columns of a transaction that the segments look at."""
        named = {column for segment in self.segments for column, _ in segment.selectors}
        further = sorted(named - set(_SHIPPED_COLUMNS))
        return (*(column for column in _SHIPPED_COLUMNS if column in named), *further)

    @property
    def expected_alert_share(self) -> float:
        """Share of traffic that ``review_threshold`` lets through, by the definition of the anchored score.

        A score s stands for the tail share t of the training scores: s = 1 - t/(2c) up to t = c, c/(2t) beyond.
        Solved for t: at 0.5 it is the contamination c, at 0.3 it is 1.67 c, at 0.7 it is 0.6 c.
        """
        s, c = self.review_threshold, self.contamination
        return 2 * c * (1 - s) if s >= 0.5 else min(1.0, c / (2 * s)) if s > 0 else 1.0

    def alerts_per_day(self, transactions_per_day: float) -> float:
        """Alerts a day to aim at: the budget, or what the start threshold means for this much traffic."""
        return self.alert_budget if self.alert_budget is not None else self.expected_alert_share * transactions_per_day

    def most_alerts(self, transactions: int) -> int:
        """Alerts that a day of so many transactions may have at most: ``max_alerts_factor`` times the budget.

        Without a budget of its own a small day may have `LEAST_CAP` all the same: a share of few payments is none.
        """
        bound = int(self.max_alerts_factor * self.alerts_per_day(transactions))
        return bound if self.alert_budget is not None else max(bound, LEAST_CAP)


POLICIES: Final[Mapping[str, Policy]] = {
    policy.name: policy
    for policy in (
        Policy(name="high_security", review_threshold=0.3, contamination=0.02, review_cost=3.0),
        Policy(name="balanced", review_threshold=0.5, contamination=0.01, review_cost=5.0),
        Policy(name="customer_friendly", review_threshold=0.7, contamination=0.005, review_cost=10.0),
    )
}
"""The original's three, by name; to bother a customer weighs more the friendlier the policy."""


def policy_named(name: str, policies: Mapping[str, Policy] = POLICIES) -> Policy:
    """The policy of that name.

    Raises:
        InvalidInput: there is none; the message lists those there are.
    """
    try:
        return policies[name]
    except KeyError:
        raise InvalidInput(
            f"no policy is named {name!r}; choose one of {', '.join(sorted(policies))} (FRAUD_POLICY)"
        ) from None


class AlertCut(BaseModel):
    """The last of a day's payments that a model still alerts: of equal scores, by transaction id."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    score: float = Field(ge=0, le=1)
    transaction_id: str


class Thresholds(BaseModel):
    """The thresholds in force from ``effective_date`` on: one row of ``monitoring.decision_thresholds``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    effective_date: date
    policy: str
    review_threshold: float = Field(ge=0, le=1)
    block_threshold: float = Field(ge=0, le=1)
    contamination: float = Field(gt=0, le=0.5)
    objective: str
    evidence: dict[str, JsonValue] = Field(default_factory=dict)
    alert_cut: AlertCut | None = None
    """Set of a day whose alerts were more than the policy's bound, and nowhere but in the log of its decisions."""
    audit: AuditDraw | None = None
    """Set of a day with an audit sample, likewise."""

    @model_serializer(mode="wrap")
    def _as_before_there_was_a_cut(self, content: SerializerFunctionWrapHandler) -> dict[str, object]:
        return _without_unsaid(content(self), {"alert_cut": None, "audit": None})

    @model_validator(mode="after")
    def _review_begins_before_block(self) -> Self:
        _check_order(self.review_threshold, self.block_threshold)
        return self

    def row(self) -> dict[str, object]:
        """The table's row; the evidence as JSON with sorted keys."""
        return self.model_dump() | {"evidence": json.dumps(self.evidence, sort_keys=True, allow_nan=False)}

    @classmethod
    def from_row(cls, row: Mapping[str, object]) -> Self:
        """The inverse of `row`; columns the table has gained since are ignored."""
        values = {name: row[name] for name in cls.model_fields if name in row}
        return cls.model_validate(values | {"evidence": json.loads(str(values["evidence"]))})


def initial_thresholds(policy: Policy, day: date) -> Thresholds:
    """What the policy itself says, in force from ``day``, before anything was tuned."""
    return Thresholds(
        effective_date=day,
        policy=policy.name,
        review_threshold=policy.review_threshold,
        block_threshold=policy.block_threshold,
        contamination=policy.contamination,
        objective="initial",
        evidence={"objective": "initial", "guards": []},
    )


def thresholds_in_force(warehouse: Warehouse, policy: Policy, day: date) -> Thresholds:
    """The latest thresholds of the policy that took effect on or before ``day``, or its initial ones.

    Those that were tuned on the scores of another model than decides now say nothing of its scores: the policy's own
    are in force again, until there are some of this one.

    A block threshold is in force as tuned while the policy says of blocks what it said then; otherwise it is that of
    the policy, as is always the contamination, so that an edited policy is in force at once. What the policy states as
    a probability is the score that has it, see `with_probabilities`.
    """
    return with_probabilities(warehouse, policy, _tuned_in_force(warehouse, policy, day), day)


def with_probabilities(warehouse: Warehouse, policy: Policy, thresholds: Thresholds, day: date) -> Thresholds:
    """The thresholds, but of those that the policy states as probabilities the scores that had them when ``day`` began.

    Until the probabilities of the deciding model's scores are known, the thresholds stay. Where the two would cross,
    what is stated as a probability stands and the other one yields.
    """
    stated = {
        name: probability
        for name, probability in (
            ("review_threshold", policy.review_probability),
            ("block_threshold", policy.block_probability),
        )
        if probability is not None
    }
    curve = curve_in_force(warehouse, policy.second_stage, day) if stated else None
    if curve is None:
        return thresholds
    scores = {name: curve.threshold(probability) for name, probability in stated.items()}
    review = scores.get("review_threshold", thresholds.review_threshold)
    block = scores.get("block_threshold", thresholds.block_threshold)
    if review > block:
        review, block = (block, block) if "block_threshold" in scores else (review, review)
    names: list[JsonValue] = list(scores)
    return thresholds.model_copy(
        update={
            "review_threshold": review,
            "block_threshold": block,
            "evidence": thresholds.evidence | {BY_PROBABILITY: names},
        }
    )


def _tuned_in_force(warehouse: Warehouse, policy: Policy, day: date) -> Thresholds:
    rows = warehouse.read(
        """
        SELECT * FROM monitoring.decision_thresholds
        WHERE policy = $policy AND effective_date <= $day
        ORDER BY effective_date DESC LIMIT 1
        """,
        {"policy": policy.name, "day": day},
    )
    if rows.is_empty():
        return initial_thresholds(policy, day)
    tuned = Thresholds.from_row(rows.row(0, named=True))
    tuned_for = tuned.evidence.get(TUNED_FOR, ENSEMBLE_MODEL)
    if tuned.objective != SET_BY_PERSON and policy.second_stage not in (BEST, tuned_for):
        return initial_thresholds(policy, day)
    block = tuned.block_threshold if _says_the_same_of_blocks(policy, tuned) else policy.block_threshold
    return tuned.model_copy(
        update={
            "review_threshold": min(tuned.review_threshold, block),
            "block_threshold": block,
            "contamination": policy.contamination,
        }
    )


def _says_the_same_of_blocks(policy: Policy, tuned: Thresholds) -> bool:
    """Whether the block threshold was tuned for what the policy wants now, on the scores of what decides now."""
    blocks = tuned.evidence.get(BLOCKS)
    return (
        isinstance(blocks, dict)
        and policy.second_stage in (BEST, blocks[TUNED_FOR])
        and blocks["policy_threshold"] == policy.block_threshold
        and blocks["target_precision"] == policy.block_precision
    )
