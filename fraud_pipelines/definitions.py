"""The one entry point of Dagster: everything below ``defs/``, with the owner set on every asset."""

from pathlib import Path

import dagster as dg

from fraud_pipelines.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    owner = Settings.from_environment().owner
    loaded = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    return loaded.map_asset_specs(func=lambda spec: spec.replace_attributes(owners=[owner]))
