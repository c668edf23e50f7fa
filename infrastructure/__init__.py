"""Adapters: event store, projector, effect queue, worker runtimes, executor client, S3, providers, embedded servers."""
