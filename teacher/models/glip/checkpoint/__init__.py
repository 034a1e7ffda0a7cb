"""Read checkpoints of the GLIP authors and write model directories."""
