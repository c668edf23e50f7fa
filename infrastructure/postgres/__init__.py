"""The control plane's tables on Postgres: the log, read models, process managers, effects, the run queue, search.

Readers of the log in other rooms use its connections (sessions.py).
"""
