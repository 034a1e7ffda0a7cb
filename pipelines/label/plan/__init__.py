"""What a labeling job would do and what it would cost."""
