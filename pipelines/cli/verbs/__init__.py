"""One file per verb or family of verbs. A file here with `ENTRY = VerbFamily(...)` is part of the command line."""
