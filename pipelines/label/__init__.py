"""Labelling: a job file becomes evidence, unit by unit, resumable at any moment."""
