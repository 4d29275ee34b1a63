"""`scripts/bench NAME`: one measurement, or all of them with the document that shows them."""

import importlib
import sys

from tests.bench.all import NAMES

ALSO = ("all", "faces")  # faces counts what is found in pictures of yours


def main() -> int:
    names = (*NAMES, *ALSO)
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        print(f"usage: scripts/bench {'|'.join(names)} [--help]", file=sys.stderr)  # noqa: T201
        return 2
    code = importlib.import_module(f"tests.bench.{sys.argv[1]}").main(sys.argv[2:])
    assert isinstance(code, int)
    return code


if __name__ == "__main__":
    sys.exit(main())
