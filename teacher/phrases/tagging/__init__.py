"""Tag captions without a parser: the bundled lexicon, a tagger over it, and fixes for impossible tags."""
