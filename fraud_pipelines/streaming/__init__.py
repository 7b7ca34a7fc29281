"""Streaming: user buffers, the stream's detector, the screener, and the sessions that commit what it decides."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fraud_pipelines.streaming.batches import FrameBatch
    from fraud_pipelines.streaming.detector import StreamDetector
    from fraud_pipelines.streaming.screener import Screener
    from fraud_pipelines.streaming.session import StreamSession
    from fraud_pipelines.streaming.user_buffers import UserBuffers

__all__ = ["FrameBatch", "Screener", "StreamDetector", "StreamSession", "UserBuffers"]

_MODULES = {
    "FrameBatch": "batches",
    "Screener": "screener",
    "StreamDetector": "detector",
    "StreamSession": "session",
    "UserBuffers": "user_buffers",
}


def __getattr__(name: str) -> object:
    """The names above, on first use: a sensor that looks for files needs none of them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
