"""From a grounding model's output to regions in the frame of the stored image."""
