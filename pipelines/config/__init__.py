"""Reads a YAML configuration into its settings class; a mistake is told as `file:line:col`."""

from pipelines.config.load import load_settings, parse_overrides

__all__ = ["load_settings", "parse_overrides"]
