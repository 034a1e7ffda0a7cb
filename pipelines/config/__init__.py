"""Load YAML configurations into settings classes, and check the places to which verbs write."""

from pipelines.config.load import load_settings, parse_overrides

__all__ = ["load_settings", "parse_overrides"]
