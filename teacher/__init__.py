"""Labeling models: noun phrases, prompts, detection models and the labelers that turn their output into regions."""
