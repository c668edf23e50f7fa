"""The path of a program in a pip-installed package, found without importing the package."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from infrastructure.embedded.errors import BinaryMissing


def packaged_binary(package: str, ending: str) -> Path:
    """The installed file of `package` whose path ends with `ending`, such as `bin/rclone`. Raises BinaryMissing."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise BinaryMissing(package, ending) from None
    for file in files:
        if file.as_posix().endswith(f"/{ending}"):
            path = Path(str(file.locate())).resolve()
            if path.is_file():
                return path
    raise BinaryMissing(package, ending)
