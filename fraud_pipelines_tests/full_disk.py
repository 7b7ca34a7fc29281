"""A disk on which there is no room for a copy, and a file system that can't copy by reference."""

from types import SimpleNamespace

import pytest


def fill_disk(patched: pytest.MonkeyPatch) -> None:
    """Leave a thousand bytes for the publication."""
    patched.setattr("fraud_pipelines.storage.publication._run", lambda *_: "can't copy by reference")
    patched.setattr("fraud_pipelines.storage.publication.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
