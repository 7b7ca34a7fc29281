"""Storage: the DuckDB warehouse and the MLflow model registry."""
