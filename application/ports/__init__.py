"""The application's Protocols, with the values and errors of their methods. Those of reads are in projections/ports.py,
those of the executor's HTTP service in interfaces/executor/ports.py."""
