"""Scripts as runs, over HTTP, in real processes."""

import time
from pathlib import Path

import pytest

from application.store_credentials import StoreCredentials
from infrastructure.runtimes.polling import wait_until
from tests.integration.executor.worker import is_alive, text_of, types_of


@pytest.fixture(scope="module")
def worker(shared_worker):
    return shared_worker


def test_a_script_runs_in_the_workspace_and_its_output_is_journaled_in_order(worker):
    (worker.workspace / "data.txt").write_text("from the workspace")
    entries = worker.run("cat data.txt; echo; pwd; echo wrong >&2; echo made > new.txt")

    assert [entry["n"] for entry in entries] == list(range(1, len(entries) + 1))
    assert text_of(entries, "stdout") == f"from the workspace\n{worker.workspace}\n"
    assert text_of(entries, "stderr") == "wrong\n"
    assert types_of(entries)[-2:] == ["message.stop", "run.agent_finished"]
    assert entries[-1]["payload"] == {"outcome": "succeeded", "usage": {}, "exitCode": 0}
    assert {entry["bootId"] for entry in entries} == {worker.endpoint["bootId"]}
    assert (worker.workspace / "new.txt").read_text() == "made\n"


def test_the_last_user_message_is_the_script_when_no_other_is_given(worker):
    messages = [{"role": "user", "content": "exit 9"}, {"role": "user", "content": "echo second"}]
    worker.try_start(None, spec={"providerOptions": {}, "messages": messages})
    assert text_of(worker.journal()) == "second\n"


def test_a_script_longer_than_an_argument_may_be(worker):
    entries = worker.run("true # " + "x" * 500_000 + "\necho end")
    assert text_of(entries) == "end\n"


def test_an_agent_sees_a_short_list_of_variables_and_no_secret(worker):
    text = text_of(worker.run("env -0 | tr '\\0' '\\n' | sort"))
    names = {line.partition("=")[0] for line in text.splitlines()}
    allowed = {
        "PATH",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TERM",
        "TZ",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HOME",
        "PWD",
        "SHLVL",
        "_",
        "OLDPWD",
        "CODEX_HOME",
        "CLAUDE_CONFIG_DIR",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
        "FLEETLOG_RUN_ID",
        "FLEETLOG_SESSION_ID",
        "FLEETLOG_WORKSPACE",
        "FLEETLOG_WORKER",
    }
    assert names <= allowed
    assert worker.config["token"] not in text
    assert worker.config["s3SecretKey"] not in text
    assert f"HOME={worker.home}" in text.splitlines()
    assert f"CODEX_HOME={worker.workspace}/.agent_data/codex" in text.splitlines()


def test_variables_of_the_executor_itself_stay_with_it(make_worker):
    worker = make_worker()
    worker.start(MY_SECRET="do-not-tell", LANG="C.UTF-8")
    worker.restore()
    assert "do-not-tell" not in text_of(worker.run("env; cat /proc/self/environ | tr '\\0' '\\n'"))


def test_a_failing_script_tells_its_code_and_the_end_of_its_stderr(worker):
    entries = worker.run("echo first >&2; echo the reason >&2; exit 7")
    payload = entries[-1]["payload"]
    assert payload["outcome"] == "failed"
    assert payload["exitCode"] == 7
    assert payload["error"]["errorClass"] == "script_failed"
    assert payload["error"]["message"].endswith("exit code 7: first\nthe reason")


def test_lines_to_fleetlog_become_events(worker):
    entries = worker.run(
        """
        echo '::fleetlog {"type":"todo.snapshot","todos":[{"todoId":"a","content":"one","order":1}]}'
        echo '::fleetlog {"type":"todo.update","todo":{"todoId":"a","content":"one","status":"done"}}'
        echo '::fleetlog {"type":"tool.start","toolId":"t","name":"grep","input":{"q":1}}'
        echo '::fleetlog {"type":"tool.end","toolId":"t","output":"found","ok":true,"durationMs":3}'
        echo '::fleetlog {"type":"reasoning.delta","text":"hm"}'
        echo '::fleetlog {"type":"usage","inputTokens":3,"outputTokens":1}'
        echo '::fleetlog {"type":"usage","inputTokens":4,"costUsd":0.5}'
        echo '::fleetlog {"type":"message.stop"}'
        """
    )
    assert types_of(entries) == [
        "todo.snapshot",
        "todo.update",
        "tool.start",
        "tool.end",
        "reasoning.delta",
        "message.stop",
        "run.agent_finished",
    ]
    assert entries[1]["payload"]["todo"]["status"] == "done"
    assert entries[2]["payload"] == {"toolId": "t", "name": "grep", "input": {"q": 1}}
    assert entries[-1]["payload"]["usage"] == {"inputTokens": 7, "outputTokens": 1, "costUsd": 0.5}


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "3",
        '{"type":7}',
        '{"type":"run.finished"}',
        '{"type":"todo.update"}',
        '{"no":"type"}',
        "\\xff\\xfe",
        "",
    ],
)
def test_a_line_that_makes_no_sense_is_a_warning(worker, line):
    entries = worker.run(f"printf '::fleetlog {line}\\n'; echo alive")
    assert types_of(entries) == ["run.warning", "message.delta", "message.stop", "run.agent_finished"]
    assert entries[0]["payload"]["warning"]["code"] in {"malformed_line", "unknown_line"}


def test_a_question_waits_for_its_answer_and_takes_the_first(worker):
    worker.start_run(
        """
        echo '::fleetlog {"type":"question","questionId":"q1","prompt":"Sure?","options":["yes",{"label":"no"}]}'
        read answer; echo "<$answer>"
        echo '::fleetlog {"type":"question","questionId":"q2","timeoutMs":5000}'
        read answer; echo "<$answer>"
        """,
        interactive=True,
    )
    with worker.following() as entries:
        asked = next(entries)
        assert asked["payload"]["options"] == [{"label": "yes"}, {"label": "no"}]
        assert asked["payload"]["timeoutMs"] == 3_600_000
        assert worker.run_state()["openQuestions"] == ["q1"]
        assert worker.reply("q2", "too early").status_code == 404
        assert worker.reply("q1", "yes\nwith a line").json() == {"ok": True, "duplicate": False}
        assert worker.reply("q1", "no").json() == {"ok": True, "duplicate": True}
        rest = [next(entries) for _ in range(3)]
        assert types_of(rest)[0] == "human_loop.resolved"
        assert rest[0]["payload"] == {"questionId": "q1", "answer": "yes\nwith a line"}
        assert worker.reply("q2", {"choice": 2}).status_code == 200
        rest += list(entries)
    assert text_of(rest) == '<yes with a line>\n<{"choice":2}>\n'
    assert worker.reply("q2", "late").status_code == 409
    assert worker.reply("q", "x", run_id="unknown").status_code == 404


def test_a_question_of_a_run_that_is_not_interactive_is_a_warning(worker):
    entries = worker.run('echo \'::fleetlog {"type":"question","questionId":"q"}\'; read x || echo none')
    assert types_of(entries)[0] == "run.warning"
    assert entries[0]["payload"]["warning"]["code"] == "not_interactive"
    assert text_of(entries) == "none\n"


def test_a_question_that_is_open_at_the_end_is_canceled(worker):
    entries = worker.run('echo \'::fleetlog {"type":"question","questionId":"q"}\'; exit 0', interactive=True)
    assert types_of(entries) == ["human_loop.requested", "human_loop.canceled", "run.agent_finished"]


@pytest.mark.proof
def test_cancel_ends_the_whole_family_even_what_left_its_session(worker):
    script = """
        trap '' TERM
        sleep 600 & echo $!
        setsid sh -c 'trap "" TERM; sleep 601 & echo $!; echo $$; wait' &
        (setsid env -i sleep 602 & echo $! >&2) &
        wait
        while true; do sleep 1; done
    """
    worker.start_run(script)
    pids = set()
    with worker.following() as entries:
        seen = []
        while len(pids) < 4:
            seen.append(next(entries))
            pids = {int(word) for word in text_of(seen).split()}
        assert all(is_alive(pid) for pid in pids)
        assert worker.stop_run().status_code == 200
        worker.stop_run()
        last = list(entries)[-1]
    assert last["payload"]["outcome"] == "canceled"
    assert not [pid for pid in pids if is_alive(pid)]
    assert worker.stop_run().json()["finished"] is True


def test_cancel_lets_a_script_clean_up_first(worker):
    worker.start_run("trap 'echo bye; exit 0' TERM; echo up; while true; do sleep 0.05; done")
    with worker.following() as entries:
        next(entries)
        worker.stop_run()
        rest = list(entries)
    assert text_of(rest, "stdout") == "bye\n"


def test_a_background_child_that_holds_the_pipe_does_not_hold_the_run(worker):
    started = time.monotonic()
    entries = worker.run("sleep 600 & echo $!; exit 0")
    assert time.monotonic() - started < 5
    assert entries[-1]["payload"]["outcome"] == "succeeded"
    assert not is_alive(int(text_of(entries)))


def test_a_script_that_closes_its_output_goes_on(worker):
    entries = worker.run("exec >&- 2>&-; sleep 0.2; touch done; exit 4")
    assert entries[-1]["payload"]["exitCode"] == 4
    assert (worker.workspace / "done").exists()


def test_binary_garbage_is_text_with_replacement_characters(worker):
    entries = worker.run("head -c 300000 /dev/urandom; printf '\\377\\376\\0end'")
    assert text_of(entries).endswith("��\0end")
    assert entries[-1]["payload"]["outcome"] == "succeeded"


def test_a_line_of_100_mb_is_cut_and_costs_bounded_memory(worker):
    entries = worker.run("head -c 100000000 /dev/zero | tr '\\0' x")
    assert entries[-1]["payload"]["outcome"] == "succeeded"
    assert [e["payload"]["warning"]["code"] for e in entries if e["type"] == "run.warning"] == ["output_cut"]
    assert 60_000_000 < len(text_of(entries)) < 70_000_000
    assert _peak_memory_mb(worker.process.pid) < 250


def test_a_line_to_fleetlog_without_an_end_is_dropped_with_a_warning(worker):
    entries = worker.run("printf '::fleetlog '; head -c 20000000 /dev/zero | tr '\\0' x; echo; echo alive")
    assert entries[0]["payload"]["warning"]["code"] == "line_too_long"
    assert text_of(entries) == "alive\n"


def test_large_tool_output_goes_to_the_object_store(worker, shared_store):
    entries = worker.run(
        """
        printf '::fleetlog {"type":"tool.end","toolId":"t","output":"'; head -c 400000 /dev/zero | tr '\\0' y; echo '"}'
        printf '::fleetlog {"type":"todo.update","todo":{"todoId":"'; head -c 400000 /dev/zero | tr '\\0' y
        echo '","content":""}}'
        """
    )
    reference = entries[0]["payload"]["outputRef"]
    assert reference["size"] == 400_000
    assert shared_store.get(reference["key"]) == b"y" * 400_000
    assert types_of(entries) == ["tool.end", "run.warning", "run.agent_finished"]


def test_deltas_that_come_close_together_share_an_entry(worker):
    entries = worker.run("for i in $(seq 2000); do echo $i; done")
    assert text_of(entries).split() == [str(i) for i in range(1, 2001)]
    assert len(entries) < 200


def test_starting_twice_is_starting_once(worker):
    first = worker.start_run("echo once >> count; sleep 0.2", "same")
    assert worker.start_run("echo once >> count; sleep 0.2", "same")["bootId"] == first["bootId"]
    worker.journal()
    assert worker.start_run("echo once >> count; sleep 0.2", "same")["finished"] is True
    assert (worker.workspace / "count").read_text() == "once\n"
    worker.start_run("echo twice >> count", "same", attempt=2)
    assert worker.journal()[-1]["attempt"] == 2
    assert worker.try_start("echo never", "same", attempt=1).json()["reason"] == "older_attempt"


def test_one_run_at_a_time(worker):
    worker.start_run("sleep 600")
    active = worker.run_id
    refused = worker.try_start("echo")
    assert (refused.status_code, refused.json()["reason"]) == (409, "busy")
    worker.run_id = active
    worker.stop_run()
    worker.journal()
    assert text_of(worker.run("echo now")) == "now\n"


def test_runs_are_refused_in_maintenance_and_before_the_restore(make_worker):
    worker = make_worker(maintenance=True)
    worker.start()
    assert worker.try_start("echo").json()["reason"] == "maintenance"
    other = make_worker()
    other.start()
    assert other.try_start("echo").json()["reason"] == "workspace_not_restored"
    assert other.http.get(f"/provider-runs/{other.run_id}").status_code == 404


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"provider": "nobody"}, "spec.provider"),
        ({"providerOptions": {"script": 3}}, "spec.providerOptions.script"),
        ({"providerOptions": {"script": "", "interactive": "yes"}}, "spec.providerOptions.interactive"),
        ({"providerOptions": {}}, "spec.messages"),
    ],
)
def test_what_a_provider_can_not_accept_is_refused_by_field(worker, spec, field):
    refused = worker.try_start("", spec=spec)
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == field
    assert worker.http.get(f"/provider-runs/{worker.run_id}").status_code == 404


def test_what_means_nothing_to_a_script_is_warned_about(worker):
    options = {"script": "echo", "colour": "red"}
    worker.try_start("", spec={"providerOptions": options})
    warned = [entry["payload"]["warning"]["code"] for entry in worker.journal() if entry["type"] == "run.warning"]
    assert warned == ["unknown_option"]


def test_the_journal_is_read_from_any_cursor_and_ends_with_the_run(worker):
    entries = worker.run("for i in 1 2 3; do echo $i; sleep 0.08; done")
    for cursor in range(len(entries) + 1):
        assert worker.journal(cursor=cursor) == entries[cursor:]
    beyond = worker.http.get(f"/provider-runs/{worker.run_id}/stream", params={"cursor": len(entries) + 1})
    assert beyond.status_code == 400
    assert beyond.json()["errors"][0]["field"] == "cursor"
    for bad in ("-1", "x", "1.5", "9" * 30):
        assert worker.http.get(f"/provider-runs/{worker.run_id}/stream", params={"cursor": bad}).status_code == 400


def test_many_orphans_are_reaped_while_a_run_goes_on(worker):
    worker.start_run("for i in $(seq 40); do (setsid true &) ; done; sleep 0.3; echo ready; sleep 600")
    with worker.following() as entries:
        next(entries)
        children = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children")
        assert len(children.read_text().split()) <= 2
        worker.stop_run()
        list(entries)


def _peak_memory_mb(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def test_large_output_waits_for_a_store_that_moves(worker, shared_store, shared_location):
    def at(endpoint):
        keys = {"access_key": shared_location.access_key, "secret_key": shared_location.secret_key}
        return {"headers": StoreCredentials(**keys, endpoint=endpoint).headers()}

    assert worker.http.get("/workspace/sync", **at("http://127.0.0.1:9")).is_success
    output = "head -c 400000 /dev/zero | tr '\\0' y"
    worker.start_run(f"""printf '::fleetlog {{"type":"tool.end","toolId":"t","output":"'; {output}; echo '"}}'""")
    assert wait_until(lambda: "can't be stored yet" in worker.log(), 60)
    assert worker.http.get("/workspace/sync", **at(shared_location.endpoint)).is_success

    stored = worker.journal()[0]["payload"]["outputRef"]
    assert shared_store.get(stored["key"]) == b"y" * 400_000


def test_git_status_shows_the_agents_work_and_not_their_data(worker):
    (worker.workspace / ".agent_data/claude/notes").touch()
    made = text_of(worker.run("git init -q . && printf '*.o' > .git/info/exclude && touch work x.o && git status -s"))
    assert "?? .agent_data/" in made.splitlines()  # the repository is newer than the start of this run
    shown = worker.run("git status -s; cat .git/info/exclude")
    assert [line for line in text_of(shown).splitlines() if "agent_data" in line] == ["/.agent_data/"]
    assert "?? work" in text_of(shown).splitlines()
    worker.run("rm -rf .git; git init -q .; rm .git/info/exclude")
    for _ in range(2):
        worker.sync()
    exclude = worker.workspace / ".git/info/exclude"
    assert exclude.read_text() == "/.agent_data/\n"

    worker.run("mv .git/info/exclude mine; ln -s ../../mine .git/info/exclude; echo '*.o' > mine; git status -s")
    assert (exclude.is_symlink(), exclude.read_text()) == (True, "*.o\n")
    worker.run("rm -rf .git mine x.o work")
