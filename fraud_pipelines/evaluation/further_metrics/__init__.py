"""Metrics beside those that need an interval or a correction of their own: one module each, picked up by being here.

A module holds ``METRIC``, see `fraud_pipelines.evaluation.metric.Metric`. It needs no other edit: the metric has a
column in ``monitoring.model_performance`` with its description, a line over the days and a figure of each version in
MLflow, a place among the metadata in Dagster, and a test (`test_further_metrics`).
"""
