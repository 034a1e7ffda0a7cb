"""How the bundled pipeline is made: treebanks read, made more like captions, and trained on. Not needed to use it."""
