"""Images of a GLIP model: how they are resized and normalized, and the image processor of `transformers`."""
