"""Runs: configurations, tracking, reports and pictures."""
