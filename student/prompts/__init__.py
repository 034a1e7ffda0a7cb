"""Prompts for training: the text put to the model, and which boxes each span of it means."""
