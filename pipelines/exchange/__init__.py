"""Labels to and from other formats: export, and import of human labels as gold."""
