"""The command line: ``fraud-pipelines``."""

from fraud_pipelines.cli.main import main

__all__ = ["main"]
