"""Simulated input: transactions dropped into the landing zone, and labels that answer decisions day by day."""

from datetime import date
from typing import TYPE_CHECKING, Final, Self

import polars as pl
from pydantic import ValidationError

from fraud_pipelines.bootstrap import live_warehouse
from fraud_pipelines.cli.terminal import terminal
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import registered, select

if TYPE_CHECKING:
    from fraud_pipelines.transactions.simulator import SimulationConfig

console = terminal()

_OPTIONS: Final = {"first_day": "--from", "days": "--from and --to"}


def simulate_to_landing(
    settings: Settings,
    first: date,
    last: date,
    users: int,
    transactions_per_day: int,
    fraud_rate: float | None,
    seed: int,
    world: str,
) -> None:
    """Simulate ``first`` to ``last``, write a landing file a day and the ground truth apart from them.

    Raises:
        InvalidInput: an option is out of range; the message names it.
    """
    from fraud_pipelines.cli.daily_runs import days_between
    from fraud_pipelines.transactions.simulator import write_simulation

    config = simulation_config(
        first_day=first,
        days=len(days_between(first, last)),
        users=users,
        transactions_per_day=transactions_per_day,
        seed=seed,
        world=world,
        **({} if fraud_rate is None else {"fraud_rate": fraud_rate}),
    )
    files = write_simulation(config, settings.landing_transactions, settings.simulation_dir)
    settings.note_first_day(first)
    console.print(f"{len(files)} files, {first} to {last}, in {settings.landing_transactions}")
    console.print(f"Next: fraud-pipelines run --from {first} --to {last} --simulate-labels")


def simulation_config(**options: object) -> "SimulationConfig":
    """The configuration of a simulation from the fields of `SimulationConfig`.

    Raises:
        InvalidInput: a value is out of range; the message names the option that it came from.
    """
    from fraud_pipelines.transactions.simulator import SimulationConfig

    try:
        return SimulationConfig.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        option = _OPTIONS.get(field, f"--{field.replace('_', '-')}")
        raise InvalidInput(f"{option}: {first['input']} is out of range. {first['msg']}.") from error


class SimulatedAnswers:
    """The simulated reviewers and banks: they know the truth, and answer what was decided."""

    def __init__(self, settings: Settings, truth: pl.DataFrame) -> None:
        self._settings = settings
        self._warehouse = live_warehouse(settings)
        self._truth = truth

    @classmethod
    def read(cls, settings: Settings) -> Self:
        """The answers for all days that were simulated here.

        Raises:
            MissingData: nothing was simulated here.
        """
        from fraud_pipelines.transactions.simulator import read_truth

        if not settings.simulation_dir.exists():
            raise MissingData(
                f"No ground truth in {settings.simulation_dir}: labels can only be simulated for simulated "
                "transactions. Run fraud-pipelines simulate first, or leave --simulate-labels out."
            )
        return cls(settings, read_truth(settings.simulation_dir))

    def drop_labels(self, day: date) -> None:
        """Write the labels that become known on ``day`` into the landing zone."""
        from fraud_pipelines.transactions.simulator import labels_known_on, write_labels

        frauds = self._truth.filter("is_fraud").select("transaction_id")
        # Who approved what is legitimate hears nothing of it.
        with self._warehouse.connect(read_only=True) as connection, registered(connection, _frauds=frauds):
            decisions = select(
                connection,
                """
                SELECT transaction_id, decision, audited FROM scoring.decisions
                WHERE channel = 'batch' AND event_date < $day
                  AND (decision <> 'approve' OR audited OR transaction_id IN (FROM _frauds))
                """,
                {"day": day},
            )
        labels = labels_known_on(day, self._truth, decisions)
        # Who finds a fraud sees of what kind it is.
        kinds = self._truth.filter("is_fraud").select("transaction_id", "scenario")
        named = labels.join(kinds, on="transaction_id", how="left", maintain_order="left")
        write_labels(named, self._settings.landing_labels, day)
