"""The models that can label, each in its own folder; the GLIP class is also what a student trains."""
