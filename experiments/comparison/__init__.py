"""What runs scored, side by side: means over seeds, differences to a base setting, and how sure they are."""
