"""The HTTP side: token, problems, files, limits. Nothing gives a 500."""

import io
import os
import socket
import tarfile

import pytest

from tests.integration.executor.worker import PREFIX


@pytest.fixture(scope="module")
def worker(shared_worker):
    return shared_worker


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic token-of-this-worker", "Bearer tokén"])
@pytest.mark.parametrize("path", ["/workspace/tree", "/provider-runs/x", "/nowhere"])
def test_every_call_but_health_needs_the_token(worker, header, path):
    headers = {"authorization": header.encode("latin-1")} if header is not None else {"authorization": ""}
    refused = worker.http.get(path, headers=headers)
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["reason"] == "unauthorized"
    assert worker.http.get("/health", headers=headers).status_code == 200


def test_a_head_is_refused_by_its_size_before_the_token_counts(worker):
    refused = worker.http.get("/workspace/tree", headers={"authorization": "Bearer x", "x-long": "x" * 70_000})
    assert refused.status_code == 431
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/workspace/restore", "/workspace/sync", "/workspace/validate", "/provider-runs/start"]
)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"sessionId": 3}', b"\xff", b'{"sessionId":"s1","generation":"1"}'],
)
def test_malformed_bodies_are_refused_with_their_field(worker, path, body):
    refused = worker.http.post(path, content=body)
    assert refused.status_code == 400
    problem = refused.json()
    assert problem["errors"][0]["field"]
    assert problem["error"] == problem["detail"]
    assert {"type", "title", "status", "reason", "traceId"} <= set(problem)


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "/workspace/..",
        "/workspace/../etc/passwd",
        "/etc/passwd",
        "/workspaceX",
        "relative",
        "",
        "/workspace/a\0b",
    ],
)
@pytest.mark.parametrize("call", ["tree", "file", "download"])
def test_paths_outside_are_refused(worker, call, path):
    assert worker.http.get(f"/workspace/{call}", params={"path": path}).status_code == 400


def test_files_are_written_read_and_listed(worker):
    path = {"path": "/workspace/new/folder/ü file"}
    body = os.urandom(3_000_000)
    assert worker.http.put("/workspace/file", params=path, content=body).status_code == 204
    assert worker.http.get("/workspace/file", params=path).content == body
    (worker.workspace / "new/folder/ü file").chmod(0o755)
    assert worker.http.put("/workspace/file", params=path, content=b"again").status_code == 204
    assert (worker.workspace / "new/folder/ü file").stat().st_mode & 0o777 == 0o755
    assert worker.http.put("/workspace/file", params={"path": "/workspace/new"}, content=b"x").status_code == 409
    assert worker.http.put("/workspace/file", params={"path": "/workspace"}, content=b"x").status_code == 400
    assert worker.http.get("/workspace/file", params={"path": "/workspace/none"}).status_code == 404
    assert worker.http.get("/workspace/file", params={"path": "/workspace/new"}).status_code == 409
    assert worker.http.get("/workspace/file").status_code == 400
    entries = worker.http.get("/workspace/tree", params={"path": "/workspace/new"}).json()["entries"]
    assert [(entry["path"], entry["kind"], entry["size"]) for entry in entries] == [
        ("/workspace/new/folder", "dir", 0), ("/workspace/new/folder/ü file", "file", 5),
    ]  # fmt: skip
    assert not list(worker.state.glob("spool/*"))
    assert not list(worker.workspace.rglob(".fleetlog-*"))


def test_links_are_shown_but_never_followed(worker, tmp_path):
    (tmp_path / "secret").write_text("secret")
    for name, target in (("link", tmp_path / "secret"), ("folder-link", tmp_path)):
        (worker.workspace / name).symlink_to(target)
    for path in ("link", "folder-link/secret"):
        assert worker.http.get("/workspace/file", params={"path": f"/workspace/{path}"}).status_code == 409
    assert (
        worker.http.put("/workspace/file", params={"path": "/workspace/folder-link/new"}, content=b"").status_code
        == 409
    )
    assert worker.http.put("/workspace/file", params={"path": "/workspace/link"}, content=b"mine").status_code == 204
    assert (tmp_path / "secret").read_text() == "secret"
    entries = {e["path"]: e for e in worker.http.get("/workspace/tree").json()["entries"]}
    assert entries["/workspace/folder-link"]["target"] == str(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_special_files_are_no_files(worker):
    os.mkfifo(worker.workspace / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(worker.workspace / "sock"))
        for name in ("fifo", "sock"):
            assert worker.http.get("/workspace/file", params={"path": f"/workspace/{name}"}).status_code == 409
            assert (
                worker.http.get("/workspace/tree", params={"path": f"/workspace/{name}"}).json()["entries"][0]["kind"]
                == "other"
            )


def test_a_download_is_a_tar_without_credentials(worker):
    folder = worker.workspace / "dl"
    (folder / "empty").mkdir(parents=True)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("run.sh")
    (folder / "large").write_bytes(os.urandom(5_000_000))
    (worker.workspace / ".agent_data/codex/auth.json").write_text("secret")
    answer = worker.http.get("/workspace/download", params={"path": "/workspace/dl"})
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        assert sorted(tar.getnames()) == ["empty", "large", "link", "run.sh"]
        assert tar.getmember("run.sh").mode == 0o755
        assert tar.extractfile("large").read() == (folder / "large").read_bytes()
    everything = worker.http.get("/workspace/download").content
    with tarfile.open(fileobj=io.BytesIO(everything)) as tar:
        assert not [name for name in tar.getnames() if "auth.json" in name]
    assert worker.http.get("/workspace/download", params={"path": "/workspace/none"}).status_code == 404


def test_validation_names_what_is_missing(worker):
    (worker.workspace / "there").mkdir()
    answer = worker.post(
        "/workspace/validate", requiredPaths=["/workspace/there", "/workspace/no", "/workspace/a/../b"]
    )
    assert answer.status_code == 400
    answer = worker.post("/workspace/validate", requiredPaths=["/workspace/there", "/workspace/no", "/workspace"])
    assert answer.json() == {"ok": False, "missingRequiredPaths": ["/workspace/no"]}


def test_bodies_have_a_limit(worker):
    refused = worker.http.post("/workspace/validate", content=b"x" * (8 * 1024 * 1024 + 1))
    assert (refused.status_code, refused.json()["reason"]) == (413, "too_large")

    def chunks():
        for _ in range(9):
            yield b"x" * 1024 * 1024

    assert worker.http.post("/workspace/validate", content=chunks()).status_code == 413


def test_unknown_fields_are_ignored_and_unknown_places_are_problems(worker):
    assert worker.post("/workspace/validate", somethingNew=[1]).status_code == 200
    missing = worker.http.get("/nowhere")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    wrong = worker.http.delete("/workspace/file")
    assert (wrong.status_code, wrong.json()["reason"]) == (405, "method_not_allowed")


def test_problems_have_the_types_of_the_api_s_and_a_reason_each(worker):
    call = {"sessionId": "s1", "generation": 7, "containerId": "c"}
    answers = [
        worker.http.post("/workspace/validate", json=call),
        worker.http.post("/workspace/validate", json={}),
        worker.http.get("/provider-runs/none"),
        worker.http.get("/workspace/file", params={"path": "/workspace/" + "x" * 300}),
    ]
    problems = [answer.json() for answer in answers]
    assert [(problem["status"], problem["type"].rpartition(":")[2], problem["reason"]) for problem in problems] == [
        (409, "conflict", "fenced"),
        (400, "invalid-input", "invalid_input"),
        (404, "not-found", "not_found"),
        (422, "name-too-long", "name_too_long"),
    ]
    assert problems[1]["errors"] == [{"field": "sessionId", "message": "is required"}]
    assert [answer.headers["x-trace-id"] for answer in answers] == [problem["traceId"] for problem in problems]


@pytest.mark.parametrize("run_id", ["", "../x", "a/b", "x" * 200, "ü"])
def test_run_ids_are_checked(worker, run_id):
    spec = {"sessionId": "s1", "userLoginName": "u", "provider": "scripted", "messages": []}
    refused = worker.post("/provider-runs/start", runId=run_id, attempt=1, spec=spec)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "runId")
    assert worker.post("/provider-runs/start", runId="r", attempt=0, spec=spec).status_code == 400


def test_a_prefix_that_is_none_is_refused(worker):
    for prefix in ("", "/x", "a/../b", PREFIX + "//x"):
        plan = {"layers": []}
        assert worker.post("/workspace/restore", plan=plan, workspaceS3Prefix=prefix).status_code == 400


@pytest.mark.parametrize("name", ["x" * 300, "/".join(["deep"] * 3000), "ü" * 200])
def test_names_that_no_file_system_takes_are_refused(worker, name):
    path = {"path": f"/workspace/{name}"}
    for call in ("tree", "file", "download"):
        assert 400 <= worker.http.get(f"/workspace/{call}", params=path).status_code < 500
    if "/" not in name:
        assert worker.http.put("/workspace/file", params=path, content=b"x").status_code == 422
        assert worker.post("/workspace/validate", requiredPaths=[path["path"]]).status_code == 422


def test_half_a_character_in_a_body_is_no_crash(worker):
    body = b'{"sessionId":"s1","generation":1,"containerId":"c","requiredPaths":["/workspace/\\ud800"]}'
    assert worker.http.post("/workspace/validate", content=body).status_code in {200, 400}
