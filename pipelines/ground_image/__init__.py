"""Ask a teacher about one image: for the Python API and for the verb `teacher try`."""
