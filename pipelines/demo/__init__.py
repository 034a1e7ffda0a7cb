"""The demo: a tiny world, its recipe and the steps that take it from captioned images to a student and an audit."""
