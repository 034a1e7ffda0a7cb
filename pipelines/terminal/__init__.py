"""Text for people on a terminal: messages, results, progress, tables. Knows nothing of any verb."""
