"""Prompts: how a sample's phrases are put to a teacher that reads text, within its token budget."""
