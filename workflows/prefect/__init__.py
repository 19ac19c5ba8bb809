"""Prefect with nothing set up, told of flows and stages but never waited for; one server for all nodes, if wanted."""
