"""The processors that this process may use."""

import os

import duckdb


def cores() -> int:
    """How many there are: of those that the machine has, the ones that the process isn't kept from."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_to_cores(engine: duckdb.DuckDBPyConnection) -> None:
    """Let a DuckDB engine have no more threads than `cores`.

    By itself it has one for each processor of the machine, or of what a container is granted. Where the process is
    kept to fewer, threads that wait for each other's turn cost a tenth of a stream's time.
    """
    [(threads,)] = engine.execute("SELECT current_setting('threads')").fetchall()
    if cores() < threads:
        engine.execute(f"SET threads = {cores()}")
