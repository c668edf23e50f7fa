"""Runs of one user, then one each of others, queued while the queue is paused; who comes when, once it goes on.
Arguments: DSN MANY OTHERS AT_ONCE. Prints the users of all claims, in the order of the log."""

import sys
import time

import msgspec
import uvloop
from _queue_ours import context, stubbed
from _stub_executor import StubDirectory

from domain.run.values import Message, RunSpec
from interfaces.bootstrap.control_plane import ControlPlane

CLAIMS = """
SELECT stream FROM events
WHERE type = 'run.claimed' AND convert_from(payload, 'UTF8') NOT LIKE '%"resumed":true%'
ORDER BY position
"""


async def measure(dsn: str, many: int, others: int, at_once: int) -> list[str]:
    room = {"MAX_WORKERS": str(many + others), "MAX_STARTING": str(2 * at_once)}
    async with stubbed(dsn, StubDirectory(time.time), concurrency=at_once, **room) as plane:
        return await _claims(plane, many, others)


async def _claims(plane: ControlPlane, many: int, others: int) -> list[str]:
    users = ["many"] * many + [f"other{number}" for number in range(others)]
    await plane.operator_commands.pause_queue("", context("pause"))
    for number, user in enumerate(users):
        run_id = f"r{number}"
        spec = RunSpec(
            session_id=run_id,
            user_login_name=user,
            provider="scripted",
            messages=(Message(role="user", content=":"),),
        )
        await plane.run_commands.queue(run_id, spec, context(f"queue/{run_id}"))
    await plane.operator_commands.resume_queue("", context("resume"))
    for number in range(len(users)):
        assert await plane.run_commands.wait_for_end(f"r{number}", 300) is not None
    async with plane.queue._pool.connection() as connection:
        rows = await (await connection.execute(CLAIMS)).fetchall()
    return [users[int(stream.removeprefix("run:r"))] for (stream,) in rows]


if __name__ == "__main__":
    claims = uvloop.run(measure(sys.argv[1], *map(int, sys.argv[2:5])))
    sys.stdout.write(msgspec.json.encode(claims).decode() + "\n")
