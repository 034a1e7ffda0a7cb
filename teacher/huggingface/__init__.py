"""What the teachers with a model class of `transformers` share: files, settings, pixels, batches. No kind is here."""
