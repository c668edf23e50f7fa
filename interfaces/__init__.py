"""The edges of both programs: settings, composition roots, HTTP API, command line, executor service."""
