"""Turn a grounding model's output into regions in the frame of the stored image."""
