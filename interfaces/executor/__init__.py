"""The executor as a process: command line, configuration, HTTP service. What it serves is in infrastructure/executor.

- `__main__.py`   `python -m interfaces.executor`
- `config.py`     reads the configuration file
- `bootstrap.py`  the composition root: builds workspace engine and runs, serves them, ends
- `app.py`        one handler for each call of `application/executor_protocol.py`; `ports.py` is what the handlers need
- `guard.py`      token, trace and idle time, around every call
- `problems.py`   which error becomes which problem document
"""
