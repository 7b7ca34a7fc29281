"""The folder of a day that is computed in shards."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.errors import ShardFailed
from fraud_pipelines.storage.trial_folder import trial_folder


@contextmanager
def work_folder(engine: Engine) -> Iterator[Path]:
    """A fresh folder that goes when the block ends, however it ends; that of a killed process goes with the next one.

    Raises:
        ShardFailed: it can't be made or written to.
    """
    try:
        with trial_folder(engine.work_dir) as folder:
            yield folder
    except OSError as error:
        raise ShardFailed(
            f"The shards of the day can't be kept in {engine.work_dir}: {error}. Nothing of the day was stored. "
            "FRAUD_WORK_DIR names another folder, with more room."
        ) from error
