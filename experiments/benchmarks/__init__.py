"""Measurements that anyone can repeat; each prints ratios of runs side by side."""
