"""Keeps the read models: folds the log into them in batches, exactly once, and builds new versions beside the old."""
