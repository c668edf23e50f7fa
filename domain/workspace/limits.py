"""How large a workspace may be to be synced."""

import msgspec


class WorkspaceLimits(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`files`: with links and folders. `bytes`: of all files, without the holes of sparse ones; `file_bytes`: of one
    file, with them. `depth`: of nested folders."""

    files: int = 150_000
    bytes: int = 20 * 1024**3
    file_bytes: int = 10 * 1024**3
    depth: int = 200
