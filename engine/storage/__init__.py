"""Files behind a URL: local folders and object stores, with retries and conditional writes."""
