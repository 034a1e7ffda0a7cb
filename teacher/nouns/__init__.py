"""The bundled table of nouns, and what follows from it: which nouns are related, which may be true of one box."""
