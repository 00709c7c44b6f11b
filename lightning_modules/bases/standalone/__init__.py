"""What an exported folder carries so that transformers alone opens it: one file of the model, one of the processor.

Both are copied into the folder as they are, so they import nothing of this framework, and hold only what answering
needs. `tests/lightning_modules/checkpoints/test_standalone.py` compares their numbers with ours.
"""
