"""`python -m tests.e2e.record_examples` sends the examples of all operations to a server of its own and writes its
answers to interfaces/http/examples, where the OpenAPI document has them from. An answer that still has the status and
the fields of the recorded one changes nothing; with `--all` each is written anew."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import msgspec

from interfaces.http.edge.examples import RecordedAnswer, recorded_answer
from interfaces.http_conventions.problems import MEDIA_TYPE
from tests.support.api_story import ApiStory
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import REPOSITORY, FleetlogServer
from tests.support.servers import stop_shared_servers
from tests.support.shared_run import enter_run

FOLDER = REPOSITORY / "interfaces/http/examples"
LINES_OF_A_TEXT = 12


def recorded(response: httpx.Response, home: Path) -> RecordedAnswer:
    """The answer as it is kept: without folders of this machine, and of a long text the beginning."""
    media_type = response.headers.get("content-type", "").partition(";")[0]
    text = response.text.replace(str(home), "/var/lib/fleetlog").replace(str(REPOSITORY), "/srv/fleetlog")
    if media_type in {"application/json", MEDIA_TYPE}:
        return RecordedAnswer(status=response.status_code, media_type=media_type, body=msgspec.json.decode(text))
    beginning = "".join(text.splitlines(keepends=True)[:LINES_OF_A_TEXT])
    return RecordedAnswer(status=response.status_code, media_type=media_type, body=beginning)


def shape(value: Any) -> Any:
    """The names and kinds within a JSON value."""
    match value:
        case dict():
            return {name: shape(each) for name, each in value.items()}
        case list():
            return [shape(each) for each in value[:1]]
        case _:
            return type(value).__name__


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        enter_run(Path(folder) / "shared")
        try:
            environment = on_shared_postgres()
            with FleetlogServer(Path(folder) / "home", **environment) as server:
                for endpoint, response in ApiStory(server, environment["DATABASE_URL"]).told():
                    answer, before = recorded(response, server.home), recorded_answer(endpoint.name)
                    same = before and (before.status, shape(before.body)) == (answer.status, shape(answer.body))
                    sys.stdout.write(f"{endpoint.name}: {answer.status}{' as before' if same else ''}\n")
                    if not same or "--all" in sys.argv:
                        raw = msgspec.json.format(msgspec.json.encode(answer), indent=2)
                        (FOLDER / f"{endpoint.name}.json").write_bytes(raw + b"\n")
        finally:
            stop_shared_servers()


if __name__ == "__main__":
    main()
