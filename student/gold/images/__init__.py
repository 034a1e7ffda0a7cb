"""Find the images of gold: the rules for names, and the files below a root."""
