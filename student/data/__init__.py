"""Training data: rows of views and gold, mixed in a seeded order, without the images of the test sets."""
