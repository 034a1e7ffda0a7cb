"""Steps with cached results: a finished step is not run again, and its files are checked."""
