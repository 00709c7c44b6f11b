"""Answers of a model: generated text with the regions it names, and the likelihood of options."""
