"""What a simulation is asked for: its days, its size, its share of fraud and its seed."""

from datetime import date, timedelta

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fraud_pipelines.transactions.simulator.worlds import WORLDS


class SimulationConfig(BaseModel):
    """The input of a simulation; equal configurations give equal transactions.

    A longer simulation begins with the days of a shorter one, all else being equal. Frauds come as campaigns
    of up to some dozens of transactions, so that the share of fraud settles only over some thousand transactions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_day: date = Field(ge=date(1970, 1, 1), le=date(2200, 1, 1), description="The first UTC day.")
    days: int = Field(ge=1, le=3_660, description="How many days, the first included.")
    users: int = Field(default=1_000, ge=1, le=5_000_000, description="How many users there are.")
    transactions_per_day: int = Field(
        default=3_000, ge=1, le=10_000_000, description="Transactions on an average day, frauds included."
    )
    fraud_rate: float = Field(default=0.008, ge=0, le=0.2, description="Share of the transactions that are fraud.")
    seed: int = Field(default=7, ge=0, description="Another seed gives other users, merchants and transactions.")
    world: str = Field(default="ordinary", description="What frauds there are, and how the year goes: one of `WORLDS`.")

    @field_validator("world")
    @classmethod
    def _is_known(cls, world: str) -> str:
        if world not in WORLDS:
            raise ValueError(f"There are the worlds {', '.join(WORLDS)}")
        return world

    @property
    def last_day(self) -> date:
        return self.first_day + timedelta(days=self.days - 1)
