"""Choose decoys: nouns believed absent from an image, to measure how often a teacher says yes."""
