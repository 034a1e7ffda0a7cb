"""What a run tells of itself: logs, metrics and the log of its tasks."""
