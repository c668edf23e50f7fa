"""The protocol between the two programs: one module names every call, and both sides take the calls from it."""

import re
from typing import Any

from starlette.routing import Route

from application import executor_protocol as protocol
from application.executor_protocol import CALLS, ExecutorConfig
from interfaces.executor.app import ExecutorApi

CONFIG = ExecutorConfig(
    session_id="s",
    generation=1,
    container_id="c",
    token="t",
    workspace_dir="/w",
    home_dir="/h",
    state_dir="/s",
    s3_endpoint="http://127.0.0.1:1",
    s3_bucket="b",
    s3_access_key="k",
    s3_secret_key="x",
)


def shown(call):
    return call.method, call.path


def test_the_documentation_of_the_protocol_lists_every_call():
    documented = re.findall(r"^    (GET|POST|PUT) +(/[^ ?]*)", protocol.__doc__, re.MULTILINE)
    assert documented == [shown(call) for call in CALLS]


def test_the_executor_serves_every_call_and_no_other(tmp_path):
    unused: Any = None
    api = ExecutorApi(CONFIG, boot_id="b", workspace=unused, runs=unused, spool_dir=tmp_path, other_errors={})
    served = {
        (method, route.path) for route in api.app().routes if isinstance(route, Route) for method in route.methods
    }
    assert served - {("HEAD", path) for _, path in served} == {shown(call) for call in CALLS}


def test_each_call_has_a_name_of_its_own():
    assert len({call.operation for call in CALLS}) == len(CALLS)


def test_a_run_s_id_is_quoted_in_the_path():
    assert protocol.STOP_RUN.path_of("a/../b?c") == "/provider-runs/a%2F..%2Fb%3Fc/stop"
