"""Audits of the log: verification of its hash chain, signed checkpoints, exports, read models against a rebuild."""
