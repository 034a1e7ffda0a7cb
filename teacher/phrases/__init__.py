"""Noun phrases of captions, by spaCy: tagging, chunking, and which phrases name something that can be boxed."""
