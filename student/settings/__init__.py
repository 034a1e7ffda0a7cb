"""Settings of a training run. Imports no heavy library."""
