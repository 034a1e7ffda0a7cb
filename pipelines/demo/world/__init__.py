"""The tiny world: small rendered scenes with a long tail of nouns, written as gold, web shards and a held-out test set.

Everything is a pure function of `WorldSettings`: the same settings give the same bytes.
"""
