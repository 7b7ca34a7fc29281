"""A process that computes a day in shards, to be killed: ``python -m … WAREHOUSE MODELS``."""

import sys
from contextlib import closing
from pathlib import Path

from fraud_pipelines.engines.processes import Processes
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines_tests.decisions.scored_world import process_day, saved_world


def main(warehouse: str, folder: str) -> None:
    """Tell that it begins, and compute the day."""
    world = saved_world(Path(warehouse), Path(folder))
    with closing(Processes(2, Path(warehouse).with_name("work"))) as engine:
        engine.begin()
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        process_day(warehouse_at(world.path), world, engine)


if __name__ == "__main__":
    main(*sys.argv[1:])
