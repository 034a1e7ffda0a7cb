"""The driver: dispatch tasks to workers, handle their outcomes, publish snapshots."""
