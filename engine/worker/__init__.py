"""Label one unit: read its samples, find phrases, ask the teacher, commit the rows."""
