"""The composition root: the only place that knows which adapter plays which role."""
