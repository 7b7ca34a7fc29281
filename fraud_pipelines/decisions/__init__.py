"""Decisions: policies, decision rules, reason codes and labels."""
