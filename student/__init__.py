"""Training and evaluation: targets, batches, the training loop and the evaluation of any model of `teacher`."""
