"""The progress of a labelling run: written by the run, read by whoever watches it."""
