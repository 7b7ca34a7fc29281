"""Streaming: user buffers, the stream's detector and the screener."""
