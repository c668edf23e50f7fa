"""The program in a session worker: it owns the session's workspace and drives the agents that work in it.

It starts at `interfaces/executor/__main__.py`; `interfaces/executor/bootstrap.py` puts the parts together and `app.py`
serves them over HTTP, as `application/executor_protocol.py` describes. Nothing of the control plane is in here.

A run, from its start to its end:

    runs/provider_runs.py    all runs, at most one active: start, follow, reply, stop, recover after a crash
    providers/registry.py    the providers by name; providers/NAME/provider.py starts an agent and yields its events
    runs/admission.py        whether a run may start now
    runs/active_run.py       takes these events into the journal until the agent has ended
    runs/agent_processes.py  the agents' processes, and their end with all that they started
    journal/run_journal.py   the run's events on the disk, served as NDJSON; run_folders.py: where they lie

Its process: lifetime.py (when it ends by itself), state_folder.py (one executor has it), process_limits.py.

The workspace, as workspace/engine.py offers it, one change at a time:

    restore.py   restores it: layers.py lists, layering.py decides, fetch.py writes, fixups.py finishes
    sync.py      syncs it: walk.py lists, exclusions.py leaves out, sqlite_copy.py copies databases, upload.py stores
    browse.py    lists, reads and packs it for people
    confined.py  the only access to its files, which can't leave the folder
    state.py     what a later sync or boot needs to know
"""
