"""Prefect with nothing set up: one server of one's own, told of flows and stages but never waited for."""
