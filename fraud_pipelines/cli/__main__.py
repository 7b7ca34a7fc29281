"""``python -m fraud_pipelines.cli``: the same commands as ``fraud-pipelines``."""

from fraud_pipelines.cli.main import main

main(prog_name="fraud-pipelines")
