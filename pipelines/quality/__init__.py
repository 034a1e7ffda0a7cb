"""How far labels may be believed, told from the labels themselves."""
