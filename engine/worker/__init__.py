"""Workers: read shards, find phrases, ask the teacher, and commit the rows of a unit."""
