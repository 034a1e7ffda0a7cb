"""Text for people on a terminal (messages, results, progress, tables), and signals. Imports no verb."""
