"""Detectors saved as directories for `AutoModelForObjectDetection` of transformers."""
