"""Text for people on a terminal: messages, results, progress, tables. Imports no verb."""
