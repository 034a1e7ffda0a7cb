"""The ledger of an output: commits, snapshots, evidence files, and their checks."""
