"""Labeling: turn a job file into evidence, unit by unit. It can be resumed at any moment."""
