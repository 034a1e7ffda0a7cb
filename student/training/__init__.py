"""Train a student: the loop, its optimizer, checkpoints and reports."""
