"""Judge phrases: whether a box can be drawn around them, and how many things they name."""
