"""Read models: which events they fold, their rows, and how reads show them.

A fold is pure: the same one makes the rows live, in a rebuild and in time travel, so that all three answer alike.
"""
