"""Pictures: regions on frames, answers, heat maps, reports."""
