"""Readers of shard formats."""
