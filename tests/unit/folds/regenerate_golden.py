"""`python -m tests.unit.folds.regenerate_golden` writes corpus.json and golden_folds.json: after a fold's version was
raised, or an event was added. It refuses while a fold has changed under its old version."""

import sys

import msgspec

from tests.unit.folds import corpus, golden


def main() -> int:
    kept = corpus.load() if corpus.CORPUS.exists() else {}
    if kept and golden.GOLDEN.exists():
        refused = golden.unraised(golden.load(), golden.present(kept))
        if refused:
            sys.stderr.write("\n".join(refused) + "\n")
            return 1
    renewed = corpus.renewed(kept)
    corpus.CORPUS.write_text(corpus.written(renewed), encoding="utf-8")
    content = msgspec.json.format(msgspec.json.encode(golden.present(renewed)), indent=1)
    golden.GOLDEN.write_bytes(content + b"\n")
    sys.stdout.write(f"wrote {corpus.CORPUS} and {golden.GOLDEN}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
