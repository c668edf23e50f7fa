"""`python -m tests.unit.schema.regenerate_golden` adds new migrations and functions to golden_schema.json. It refuses
while something that is there has changed."""

import sys

import msgspec

import sql
from tests.unit.schema import golden


def main() -> int:
    kept = golden.load() if golden.GOLDEN.exists() else golden.Schema(migrations={}, functions={})
    found = golden.present(kept)
    refused = golden.refusals(kept, found, sql.folder("migrations"))
    if refused:
        sys.stderr.write("\n".join(refused) + "\n")
        return 1
    golden.GOLDEN.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    sys.stdout.write(f"wrote {golden.GOLDEN}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
