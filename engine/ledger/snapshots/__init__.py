"""Snapshots: the set of committed units at one moment, its segments and its totals."""
