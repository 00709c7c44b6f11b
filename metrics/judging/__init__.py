"""Benchmarks whose answers a judge model scores: what each asks, how verdicts are read and what they come to."""
