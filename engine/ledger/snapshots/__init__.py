"""The set of committed units at one moment: snapshots, their segments, and what they sum up to."""
