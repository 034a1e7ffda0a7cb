"""A vision-language model behind an OpenAI-compatible endpoint, which answers with boxes as text."""
