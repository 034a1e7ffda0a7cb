"""Judge phrases: what a box can hold, and how many things a phrase names."""
