"""Forgetting a person: what names them is removed from everything that an installation writes."""
