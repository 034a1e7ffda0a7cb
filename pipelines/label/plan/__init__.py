"""What a labelling run will do and what it will cost."""
