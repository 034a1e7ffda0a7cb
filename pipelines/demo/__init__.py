"""The demo: a tiny world, its recipe, and the steps from captioned images to a student and an audit."""
