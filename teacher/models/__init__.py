"""The models that can label, each in its own folder. The GLIP class is also what a student trains."""
