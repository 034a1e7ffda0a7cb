"""Readers of shards, one or a few files for each format."""
