"""The embedded Postgres, for real: data survive, crashes heal, strangers stay out."""

import asyncio
import os
import signal
import socket
import stat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infrastructure.embedded.errors import (
    HomeInUse,
    IncompatibleData,
    NoUsableAccount,
    ServerFailedToStart,
    UnsafeSecretFile,
)
from infrastructure.embedded.home_lock import HomeLock
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.secret_file import installation_secret
from infrastructure.embedded.server_account import choose_account
from tests.support.async_run import run
from tests.support.killed_starter import all_command_lines, kill_and_wait, start_and_kill, starter

pytestmark = pytest.mark.proof


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to an ordinary user")


@pytest.fixture
def home(tmp_path):
    """Below a folder that only its owner may enter: pytest's own temporary folders are 0700."""
    folder = tmp_path / "home"
    yield folder
    run(EmbeddedPostgres(folder).stop())


def ask(dsn, question):
    with psycopg.connect(dsn, autocommit=True, connect_timeout=60) as connection:
        cursor = connection.execute(question)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def postmaster(home):
    return int((home / "postgres/data/postmaster.pid").read_text().split()[0])


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def process_status(pid):
    return dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())


def by_loopback(dsn):
    return make_conninfo(dsn, host="127.0.0.1")


def test_it_is_a_durable_postgres_18(home):
    async def scenario():
        async with EmbeddedPostgres(home) as dsn:
            assert urlsplit(dsn).scheme == "postgresql"
            assert ask(dsn, "SHOW server_version").startswith("18.")
            assert ask(dsn, "SHOW fsync") == "on"
            assert ask(dsn, "SHOW synchronous_commit") == "on"
            assert ask(dsn, "SHOW listen_addresses") == "127.0.0.1"
            assert ask(dsn, "SHOW server_encoding") == "UTF8"
            assert ask(dsn, "SHOW data_checksums") == "on"
            return postmaster(home)

    assert not is_alive(run(scenario()))


def test_a_second_start_finds_the_data_and_the_address_of_the_first(home):
    async def scenario():
        async with EmbeddedPostgres(home) as first:
            ask(first, "CREATE TABLE kept AS SELECT 42 AS answer")
        server = EmbeddedPostgres(home)
        async with server as second:
            assert not server.adopted
            assert second == first
            assert ask(second, "SELECT answer FROM kept") == 42

    run(scenario())


def test_after_the_starter_was_killed_the_next_start_adopts_the_running_server(home):
    start_and_kill("postgres", home)
    pid = postmaster(home)
    assert is_alive(pid)

    async def scenario():
        server = EmbeddedPostgres(home)
        async with server as dsn:
            assert server.adopted
            assert postmaster(home) == pid
            assert ask(dsn, "SELECT 1") == 1

    with HomeLock(home):
        run(scenario())
    assert not is_alive(pid)


def test_the_server_is_out_of_reach_of_its_starters_terminal(home):
    with starter("postgres", home) as process:
        pid = postmaster(home)
        assert os.getsid(pid) == os.getpgid(pid) == pid
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
        assert is_alive(pid)


def test_a_killed_server_recovers_its_commits_from_the_log(home):
    async def scenario():
        killed = EmbeddedPostgres(home)
        dsn = await killed.start()
        ask(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        kill_and_wait(postmaster(home))
        # Another Fleetlog sees a zombie: its parent, the first one, has not asked for its end yet.
        again = EmbeddedPostgres(home)
        async with again as dsn:
            assert not again.adopted
            assert ask(dsn, "SELECT answer FROM kept") == 42
        await killed.stop()

    run(scenario())


def test_a_server_that_died_can_be_started_again_by_the_same_owner(home):
    async def scenario():
        server = EmbeddedPostgres(home)
        dsn = await server.start()
        with psycopg.connect(dsn) as connection:
            kill_and_wait(postmaster(home))
            async with server as dsn:
                assert ask(dsn, "SELECT 1") == 1
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")

    run(scenario())


def test_a_pid_file_that_names_another_process_is_cleaned_up(home):
    async def scenario():
        async with EmbeddedPostgres(home):
            text = (home / "postgres/data/postmaster.pid").read_text()
        lines = [str(os.getpid()), *text.splitlines()[1:]]
        (home / "postgres/data/postmaster.pid").write_text("\n".join(lines) + "\n")
        again = EmbeddedPostgres(home)
        async with again as dsn:
            assert not again.adopted
            assert ask(dsn, "SELECT 1") == 1

    run(scenario())


def test_nobody_gets_in_without_the_password(home):
    async def scenario():
        async with EmbeddedPostgres(home) as dsn:
            for address in (dsn, by_loopback(dsn)):
                assert ask(address, "SELECT 1") == 1
                for attempt in ("guess", ""):
                    with pytest.raises(psycopg.OperationalError, match=r"password|fe_sendauth"):
                        ask(make_conninfo(address, password=attempt), "SELECT 1")
            assert ask(dsn, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'") == 0
            password = str(conninfo_to_dict(dsn)["password"])
            assert password not in all_command_lines()

    run(scenario())
    assert stat.S_IMODE((home / "postgres.password").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "postgres").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "postgres/data").stat().st_mode) == 0o700


def test_a_home_too_deep_for_a_socket_is_reached_by_loopback(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)

    async def scenario():
        async with EmbeddedPostgres(deep) as dsn:
            assert parse_qs(urlsplit(dsn).query)["host"] == ["127.0.0.1"]
            assert ask(dsn, "SELECT 1") == 1

    run(scenario())


def test_a_port_that_was_taken_meanwhile_is_replaced(home):
    async def scenario():
        async with EmbeddedPostgres(home) as first:
            port = int(conninfo_to_dict(first)["port"] or 0)
        with socket.create_server(("127.0.0.1", port)):
            async with EmbeddedPostgres(home) as second:
                assert int(conninfo_to_dict(second)["port"] or 0) != port
                assert ask(second, "SELECT 1") == 1

    run(scenario())


def test_stop_ends_open_transactions_in_bounded_time(home):
    async def scenario():
        server = EmbeddedPostgres(home)
        dsn = await server.start()
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            await connection.execute("CREATE TABLE half_done (n int)")
            async with asyncio.timeout(90):
                await server.stop()
            with pytest.raises(psycopg.OperationalError):
                await connection.execute("SELECT 1")
            await connection.close()
        await server.stop()

    run(scenario())


@as_root
def test_as_root_an_ordinary_user_runs_it_and_parent_folders_keep_their_modes(home):
    modes = {folder: stat.S_IMODE(folder.stat().st_mode) for folder in home.parents}

    async def scenario():
        async with EmbeddedPostgres(home):
            status = process_status(postmaster(home))
            assert "0" not in status["Uid"].split()
            # Enter folders and read, or nothing at all: never write.
            assert int(status["CapEff"], 16) in {0, 1 << 2}

    run(scenario())
    assert {folder: stat.S_IMODE(folder.stat().st_mode) for folder in home.parents} == modes
    assert any(not mode & 0o001 for mode in modes.values()), "the home was to lie below a closed folder"


@as_root
def test_as_root_the_capability_is_not_kept_where_it_is_not_needed(tmp_path):
    program = Path("/usr/bin/env").resolve()

    assert choose_account(program, tmp_path).prefix[0] == "setpriv"
    open_folder = Path("/tmp").resolve() / f"fleetlog-test-{os.getpid()}"
    open_folder.mkdir(mode=0o700)
    try:
        assert choose_account(program, open_folder).prefix == ()
    finally:
        open_folder.rmdir()


@as_root
def test_as_root_an_unreachable_program_is_explained(tmp_path):
    with pytest.raises(NoUsableAccount, match="DATABASE_URL"):
        choose_account(tmp_path / "no-such-program", tmp_path)


def test_a_second_fleetlog_on_the_same_home_is_refused_and_told_by_whom(home):
    with starter("postgres", home) as first, pytest.raises(HomeInUse, match=rf"process {first.pid}\).*FLEETLOG_HOME"):
        HomeLock(home).acquire()
    # The server still runs, but it holds no lock.
    assert is_alive(postmaster(home))
    with HomeLock(home):
        pass


def test_a_server_that_cannot_start_shows_the_end_of_its_log(home):
    async def scenario():
        async with EmbeddedPostgres(home):
            pass
        (home / "postgres/data/global/pg_control").unlink()
        with pytest.raises(ServerFailedToStart, match=r"exited with 2(.|\n)*pg_control"):
            await EmbeddedPostgres(home).start()

    run(scenario())


def test_data_of_another_major_version_are_left_alone(home):
    async def scenario():
        async with EmbeddedPostgres(home):
            pass
        (home / "postgres/data/PG_VERSION").write_text("17\n")
        with pytest.raises(IncompatibleData, match="made by Postgres 17"):
            await EmbeddedPostgres(home).start()

    run(scenario())


def test_a_crash_halfway_through_the_first_start_is_begun_again(home):
    (home / "postgres/data.partial/base").mkdir(parents=True)
    (home / "postgres/data.partial/PG_VERSION").write_text("18\n")

    async def scenario():
        async with EmbeddedPostgres(home) as dsn:
            assert ask(dsn, "SELECT 1") == 1

    run(scenario())


def test_the_installation_secret_is_made_once_and_closed_to_others(tmp_path):
    first = installation_secret(tmp_path)

    assert len(first) >= 32
    assert installation_secret(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(UnsafeSecretFile, match="chmod 600"):
        installation_secret(tmp_path)
