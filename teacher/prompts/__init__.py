"""Pack a sample's phrases into prompts within a teacher's token budget."""
