"""Access to files by URL: local folders and object stores, with retries and conditional writes."""
