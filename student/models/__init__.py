"""The model that training starts from, and averages of checkpoints."""
