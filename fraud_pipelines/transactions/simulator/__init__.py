"""The simulator: made-up users, merchants and frauds, so that the whole pipeline can be tried without real payments."""

from fraud_pipelines.transactions.simulator.config import SimulationConfig
from fraud_pipelines.transactions.simulator.files import (
    read_truth,
    write_labels,
    write_landing,
    write_simulation,
    write_truth,
)
from fraud_pipelines.transactions.simulator.labels import DECISIONS, labels_known_on
from fraud_pipelines.transactions.simulator.scenarios import SCENARIOS
from fraud_pipelines.transactions.simulator.simulation import TRUTH_COLUMNS, Simulation, simulate, simulate_days
from fraud_pipelines.transactions.simulator.worlds import WORLDS, World

__all__ = [
    "DECISIONS",
    "SCENARIOS",
    "TRUTH_COLUMNS",
    "WORLDS",
    "Simulation",
    "SimulationConfig",
    "World",
    "labels_known_on",
    "read_truth",
    "simulate",
    "simulate_days",
    "write_labels",
    "write_landing",
    "write_simulation",
    "write_truth",
]
