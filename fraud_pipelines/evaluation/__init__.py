"""Evaluation: metrics, threshold tuning, drift and the figures that show them."""
