"""The functions that an aggregate may be computed by: one module for each, or for a few that share their arithmetic.

Every module here is picked up by `fraud_pipelines.plan.functions`; docs/declarations.md says what one holds.
"""
