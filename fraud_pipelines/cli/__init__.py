"""The command line: ``fraud-pipelines``."""

import gc

# Dagster, MLflow and scikit-learn make a million objects that stay. To look all of them through for garbage, over and
# over while they are imported, takes a second of CPU.
gc.set_threshold(100_000, 50, 1000)

from fraud_pipelines.cli.main import main  # noqa: E402

__all__ = ["main"]
