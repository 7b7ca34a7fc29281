"""The plan: what is declared, compiled once and passed as a value."""
