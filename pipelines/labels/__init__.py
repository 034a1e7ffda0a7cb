"""Looking at labels: counts and distributions of an evidence or a view, and its boxes drawn on the photographs."""
