"""The options of a simulation: what the configuration refuses is refused on the command line, by its name."""

from typing import Final

import click
import pytest

from fraud_pipelines.cli.main import demo, simulate
from fraud_pipelines.cli.simulation import simulation_config
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.simulator import SimulationConfig
from fraud_pipelines_tests.conftest import Installation

DAYS: Final = ("--from", "2026-10-01", "--to", "2026-10-02")


@pytest.mark.parametrize(
    ("option", "value"), [("--fraud-rate", "0.3"), ("--seed", "-1"), ("--users", "5000001"), ("--from", "1969-12-31")]
)
def test_an_option_out_of_range_is_named(installation: Installation, option: str, value: str) -> None:
    output = installation.invoke("simulate", *DAYS, option, value, succeeds=False)

    assert option in output
    assert "range" in output
    assert not installation.settings.landing_transactions.exists()


@pytest.mark.parametrize("command", [demo, simulate])
def test_the_bounds_of_the_options_are_those_of_the_configuration(command: click.Command) -> None:
    fields = SimulationConfig.model_json_schema()["properties"]
    options = [parameter for parameter in command.params if parameter.name in fields and parameter.name != "world"]
    assert len(options) == 4
    for option in options:
        field = fields[option.name]
        assert isinstance(option.type, click.IntRange | click.FloatRange), option.name
        assert (option.type.min, option.type.max) == (field.get("minimum"), field.get("maximum")), option.name


def test_a_configuration_out_of_range_names_the_option() -> None:
    with pytest.raises(InvalidInput, match=r"--transactions-per-day: 0 is out of range.*greater than or equal to 1"):
        simulation_config(first_day="2026-10-01", days=1, transactions_per_day=0)
    with pytest.raises(InvalidInput, match="--from and --to: 5000 is out of range"):
        simulation_config(first_day="2026-10-01", days=5000)


def test_an_unknown_world_is_refused_with_those_that_there_are(installation: Installation) -> None:
    output = installation.invoke("simulate", *DAYS, "--world", "flat", succeeds=False)
    assert "--world" in output
    assert "velocity" in output
    assert not installation.settings.landing_transactions.exists()
