"""The commands of `cli.py`, one a file: options in, words out; what they do is done by the rooms below."""
