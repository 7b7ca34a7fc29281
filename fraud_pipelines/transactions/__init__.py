"""Transactions: their schema, validation, sources and column mappings, and the simulator."""
