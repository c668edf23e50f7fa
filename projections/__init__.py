"""Read models: the events that they fold, their rows, and the views that the API returns.

A fold is pure, and the same one is used live, in rebuilds and in time travel, so that all three give the same rows.
"""
