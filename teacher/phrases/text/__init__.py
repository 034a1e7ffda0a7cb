"""Prepare captions for tagging: normalization, languages, and text that is not language."""
