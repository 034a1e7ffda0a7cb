"""Train: the loop, its optimizer, checkpoints and reports."""
