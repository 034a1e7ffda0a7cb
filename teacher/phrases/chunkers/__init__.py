"""Find noun phrases in a document: one file per chunker."""
