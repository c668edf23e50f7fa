"""The process of a user's projection, with the test as its supervisor."""

import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import psycopg

from application.user_projection_protocol import Order
from infrastructure.user_projections.view_settings import libpq_variables, log_settings, view_settings
from tests.support.user_projection import PATIENCE_S, ProjectCommand


def test_it_ends_with_a_supervisor_that_dies_before_it_has_read_everything(database: str, tmp_path: Path) -> None:
    environment = ProjectCommand(database, tmp_path).environment
    with psycopg.connect(database, autocommit=True, connect_timeout=60) as connection:
        connection.execute("CREATE SCHEMA projections")
    ours, its = socket.socketpair()
    with its, os.fdopen(os.memfd_create("present event"), "rb") as present:
        arguments = [str(its.fileno()), str(present.fileno()), "", "counting:Counting"]
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "interfaces.python.projection_process", *arguments],
            cwd=tmp_path, env=environment, pass_fds=(its.fileno(), present.fileno()),
        )  # fmt: skip
    try:
        with ours:
            lines = ours.makefile("rb")
            assert b"Counting" in lines.readline()
            settings = log_settings(database) | view_settings("Counting", database, "projections", os.environ)
            ours.sendall(msgspec.json.encode(Order(environment=settings, libpq=libpq_variables(database))) + b"\n")
            assert b"progress" in lines.readline()
            lines.close()
            assert select.select([ours], [], [], PATIENCE_S)[0]  # a message that nobody reads
        assert process.wait(timeout=PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait(timeout=PATIENCE_S)
