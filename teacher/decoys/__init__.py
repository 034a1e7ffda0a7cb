"""Decoys: nouns that are believed absent from an image, asked to see how often a teacher says yes."""
