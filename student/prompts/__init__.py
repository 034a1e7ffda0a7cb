"""Prompts for training: categories and captions packed into the text of one example."""
