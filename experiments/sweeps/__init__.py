"""Sweeps: a grid of ordinary runs, each claimed once, on as many machines as share the storage."""
