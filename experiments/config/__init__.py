"""Configurations: their parts read apart, their values filled in."""
