"""Batches for training: tensors from examples, built ahead of the training step."""
