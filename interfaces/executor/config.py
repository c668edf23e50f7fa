"""Reads the executor's configuration file: JSON, mode 0600, since it holds the token and the S3 keys."""

import time
from pathlib import Path

import msgspec

from application.executor_protocol import ExecutorConfig

_PAUSE_S = 0.005


class ConfigRefused(Exception):
    """The executor can't start with this configuration or state folder; the message says what to do."""


def awaited_config(path: Path, wait_s: float) -> ExecutorConfig:
    """Read the file as soon as it is complete. Raises ConfigRefused, with the last error, after `wait_s` seconds."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return read_config(path)
        except ConfigRefused:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE_S)


def read_config(path: Path) -> ExecutorConfig:
    """Raises ConfigRefused."""
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigRefused(f"{path} holds secrets and others can read it: chmod 600 {path}")
        return msgspec.json.decode(path.read_bytes(), type=ExecutorConfig)
    except OSError as error:
        raise ConfigRefused(f"{path} can't be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigRefused(f"{path} is no executor configuration: {error}") from error
