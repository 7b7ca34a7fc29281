"""What the code location holds, as it was when it was last looked at: an asset, check, edge or offset that changes
shows in a diff of ``definitions.json``.

``UPDATE_SNAPSHOT=1 pytest fraud_pipelines_tests/defs/test_snapshot.py`` writes the file anew.
"""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg

from fraud_pipelines_tests.conftest import SMALL_WORLD

SNAPSHOT = Path(__file__).with_name("definitions.json")
NOT_EVERYWHERE = dg.AssetKey(["models", "autoencoder"])
"""Where PyTorch is installed."""


def mapped(mapping: dg.PartitionMapping | None) -> str:
    """Which partitions of an upstream asset a partition reads, in days of the tests' small world."""
    if mapping is None:
        return "the same day"
    if isinstance(mapping, dg.TimeWindowPartitionMapping):
        return f"days {mapping.start_offset} to {mapping.end_offset}"
    return type(mapping).__name__


def snapshot() -> dict[str, object]:
    """All that is defined, by name."""
    from fraud_pipelines.definitions import defs

    definitions = defs()
    graph = definitions.resolve_asset_graph()
    assets = {}
    for spec in sorted(definitions.resolve_all_asset_specs(), key=lambda each: each.key):
        if spec.key == NOT_EVERYWHERE:
            continue
        checks = sorted(key for key in graph.asset_check_keys if key.asset_key == spec.key)
        assets[spec.key.to_user_string()] = {
            "kinds": sorted(spec.kinds),
            "partitions": type(spec.partitions_def).__name__,
            "pools": sorted(graph.get(spec.key).pools or []),
            "reads": {
                dep.asset_key.to_user_string(): mapped(dep.partition_mapping)
                for dep in sorted(spec.deps, key=lambda each: each.asset_key)
                if dep.asset_key != NOT_EVERYWHERE
            },
            "checks": {
                key.name: "stops what lies downstream" if graph.get(key).blocking else "is shown" for key in checks
            },
        }
    repository = definitions.get_repository_def()
    return {
        "assets": assets,
        "jobs": sorted(name for name in repository.job_names if not name.startswith("__")),
        "schedules": {
            each.name: [each.job_name, each.cron_schedule, each.execution_timezone, each.default_status.value]
            for each in sorted(repository.schedule_defs, key=lambda each: each.name)
        },
        "sensors": {
            each.name: [each.sensor_type.value, each.minimum_interval_seconds, each.default_status.value]
            for each in sorted(repository.sensor_defs, key=lambda each: each.name)
        },
        "resources": sorted(repository.get_top_level_resources()),
    }


def test_the_definitions_are_those_of_the_snapshot() -> None:
    # In a process of its own: offsets are as the settings were when the definitions were first imported.
    printing = "import json, sys; from fraud_pipelines_tests.defs.test_snapshot import snapshot; "
    printing += "sys.stdout.write(json.dumps(snapshot(), indent=1, ensure_ascii=False))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")} | SMALL_WORLD
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", printing], capture_output=True, text=True, env=environment, check=True
    )
    found = done.stdout + "\n"
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(found, encoding="utf-8")
    assert found == SNAPSHOT.read_text(encoding="utf-8"), "read what changed; then UPDATE_SNAPSHOT=1 pytest, this file"
