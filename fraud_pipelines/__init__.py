"""Fraud detection for payments, run every day by Dagster on DuckDB and MLflow."""
