"""The executor's configuration file: JSON, readable by its owner alone, since it holds the token and the S3 keys."""

import time
from pathlib import Path

import msgspec

from application.executor_protocol import ExecutorConfig

_PAUSE_S = 0.005


class ConfigRefused(Exception):
    """The file can't be used; the message says what to do."""


def awaited_config(path: Path, wait_s: float) -> ExecutorConfig:
    """As soon as it is there and whole. Raises ConfigRefused with what was the matter after `wait_s` seconds."""
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
