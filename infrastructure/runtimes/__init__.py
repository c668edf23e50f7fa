"""Runtimes: where the containers of session workers live."""
