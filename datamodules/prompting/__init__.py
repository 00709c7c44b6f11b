"""Conversations about regions as token ids: placeholders, prompt styles, and what a region encoder writes and draws."""
