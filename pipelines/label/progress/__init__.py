"""What a labeling run reports about itself, and the status of an output."""
