"""Gold to evaluate against, from a view, an import or a file of another tool."""
