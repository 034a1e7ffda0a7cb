"""Batches for training: tensors from examples, built in advance of the training step."""
