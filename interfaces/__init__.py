"""The edges: settings, composition root, HTTP API, command line and the executor service."""
