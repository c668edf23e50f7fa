"""The abuses of the hostile benchmark, each by one session: what a broken or ill-meant agent, or its user, does.

As a program: PORT KEY SESSION NAME SCALE PATIENCE_S, with which `Abuser` is made. Prints how the abuser ended.
"""

import sys
from collections.abc import Callable

from _abuser import Abuser


def todos(abuser: Abuser) -> str:
    """4,500 todos, 20 times"""
    return abuser.runs(
        """
        todos = [{"todoId": f"t{n}", "content": "another thing to do"} for n in range(count)]
        for _ in range(20):
            say({"type": "todo.snapshot", "todos": todos})
        """,
        4_500,
    )


def questions(abuser: Abuser) -> str:
    """20,000 questions"""
    return abuser.runs(
        """
        for n in range(count):
            say({"type": "question", "questionId": f"q{n}", "prompt": "again?"})
        """,
        20_000,
    )


def nested(abuser: Abuser) -> str:
    """100 outputs of tools, nested 1,000 deep"""
    return abuser.runs(
        """
        for n in range(100):
            print('::fleetlog {"type": "tool.end", "toolId": "t%d", "output": %s}' % (n, "[" * count + "]" * count))
        """,
        1_000,
    )


def output(abuser: Abuser) -> str:
    """500 MB of output"""
    return abuser.runs(
        """
        kilobyte = 10 * ("x" * 99 + "\\n")
        for _ in range(count):
            sys.stdout.write(kilobyte)
        """,
        500_000,
    )


def line(abuser: Abuser) -> str:
    """a line of 100 MB, as text and as a report"""
    return abuser.runs(
        """
        for begin in ("", "::fleetlog "):
            sys.stdout.write(begin)
            for _ in range(count):
                sys.stdout.write("x" * 1000)
            sys.stdout.write("\\n")
        """,
        100_000,
    )


def files(abuser: Abuser) -> str:
    """200,000 files"""
    return abuser.runs(
        """
        for n in range(count):
            if n % 1000 == 0:
                os.mkdir(f"folder-{n}")
            os.close(os.open(f"folder-{n // 1000 * 1000}/{n}", os.O_CREAT | os.O_WRONLY))
        """,
        200_000,
    )


def deep(abuser: Abuser) -> str:
    """a tree 5,000 deep"""
    return abuser.runs(
        """
        for _ in range(count):
            os.mkdir("d")
            os.chdir("d")
        """,
        5_000,
    )


def sparse(abuser: Abuser) -> str:
    """truncate -s 200G"""
    return abuser.runs(
        """
        with open("disk.img", "wb") as file:
            file.truncate(count * 1024 * 1024)
        """,
        200 * 1024,
    )


def names(abuser: Abuser) -> str:
    """1,000 names with newlines and invalid UTF-8"""
    return abuser.runs(
        """
        for n in range(count):
            for name in (b"new\\nline %d", b"\\xff\\xfe %d"):
                os.close(os.open(name % n, os.O_CREAT | os.O_WRONLY))
        """,
        500,
    )


def forks(abuser: Abuser) -> str:
    """a fork bomb, for 20 s"""
    return abuser.runs(
        """
        end = time.monotonic() + seconds
        allowed, fill = os.pipe()
        os.set_blocking(allowed, False)
        os.write(fill, b"." * count)
        while time.monotonic() < end:
            try:
                one = os.read(allowed, 1)
            except BlockingIOError:
                time.sleep(0.1)
                continue
            try:
                os.fork()
            except OSError:
                os.write(fill, one)
        """,
        20_000,
        seconds=20,
    )


def callbacks(abuser: Abuser) -> str:
    """callbacks at full speed, for 20 s"""
    return abuser.posts(senders=8, size=10_000, requests=100_000, seconds=20)


def bodies(abuser: Abuser) -> str:
    """100 bodies of 8 MiB at once"""
    return abuser.posts(senders=100, size=8_300_000, requests=100, seconds=60)


def streams(abuser: Abuser) -> str:
    """1,500 streams, for 15 s"""
    return abuser.follows(1_500, seconds=15)


def idle(abuser: Abuser) -> str:
    """2,000 idle connections, for 15 s"""
    return abuser.idles(2_000, seconds=15)


ABUSES: dict[str, Callable[[Abuser], str]] = {
    abuse.__name__: abuse
    for abuse in (
        todos,
        questions,
        nested,
        output,
        line,
        files,
        deep,
        sparse,
        names,
        forks,
        callbacks,
        bodies,
        streams,
        idle,
    )
}


def main() -> None:
    port, key, session, name, scale, patience = sys.argv[1:]
    abuser = Abuser(int(port), key, session, scale=float(scale), patience_s=float(patience))
    print(ABUSES[name](abuser))


if __name__ == "__main__":
    main()
