"""What a policy says of cases: whom they are about, when they are due, who has to agree, and how long they take."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SecondReviewer = Literal["never", "high", "always"]


class CasePolicy(BaseModel):
    """How cases are worked. Amounts are in the currency of the transactions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    by: str = Field(
        default="user_id",
        pattern=r"^[a-z_][a-z0-9_]*$",
        description="The column of a transaction whose value a case is about. Payments without one are collected by "
        "customer.",
    )
    high_from: float = Field(
        default=500, ge=0, description="Expected loss from which a case is of high severity; in a blind review, amount."
    )
    medium_from: float = Field(default=50, ge=0, description="Likewise of medium severity; below it is low.")
    high_hours: float = Field(
        default=4, gt=0, description="A case of high severity is due so long after its first hit."
    )
    medium_hours: float = Field(default=24, gt=0, description="Likewise one of medium severity.")
    low_hours: float = Field(default=72, gt=0, description="Likewise one of low severity.")
    claim_minutes: float = Field(default=30, gt=0, le=1440, description="How long a claim holds that isn't renewed.")
    second_reviewer: SecondReviewer = Field(
        default="never",
        description="Which cases are closed only once somebody else agrees: those of high severity, all.",
    )
    stop_hours: float = Field(
        default=72, ge=0, description="So long after an unblocked payment its loss can still be stopped."
    )
    case_minutes: float = Field(default=5, gt=0, description="Minutes that a case with one payment takes.")
    payment_minutes: float = Field(default=1, ge=0, description="Minutes that each further payment of it takes.")
    day_minutes: float | None = Field(
        default=None, gt=0, description="Minutes of all reviewers a day; empty: it isn't said what can be reached."
    )

    @model_validator(mode="after")
    def _severities_in_order(self) -> Self:
        if self.medium_from > self.high_from:
            raise ValueError(f"medium_from {self.medium_from} lies above high_from {self.high_from}")
        return self

    def needs_second(self, severity: str) -> bool:
        """Whether a case of this severity is closed only once a second reviewer agrees."""
        return self.second_reviewer in ("always", severity)
