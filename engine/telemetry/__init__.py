"""Telemetry of a run: logs, metrics and the log of tasks."""
