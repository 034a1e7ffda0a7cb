"""Tokenizers of GLIP models: BERT's, and a word-level one for small vocabularies."""
