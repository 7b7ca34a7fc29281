"""Engines: who runs the shards of a big day, in this process, in several, or on Spark."""
