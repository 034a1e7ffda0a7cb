"""What is done and how it is known: commits, snapshots, evidence files, and their checks."""
