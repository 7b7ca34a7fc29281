"""The one entry point of Dagster: everything below ``defs/``."""

from pathlib import Path

import dagster as dg

from fraud_pipelines.environment import keep_files_private, load_env_file


@dg.definitions
def defs() -> dg.Definitions:
    load_env_file()
    keep_files_private()
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
