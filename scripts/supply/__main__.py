"""`python -m scripts.supply check | sbom | update | review CODE NAME`: see the package."""

import argparse
import sys
from pathlib import Path

from relay.web.catalogues import LANGUAGES, SOURCE
from scripts.supply import catalogues, locks, sbom, wheel

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    """Do what was asked; 1 if something is wrong, which is said."""
    parser = argparse.ArgumentParser(prog="python -m scripts.supply", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    for name in ("check", "sbom", "update"):
        commands.add_parser(name)
    review = commands.add_parser("review")
    review.add_argument("code", choices=[code for code in LANGUAGES if code != SOURCE])
    review.add_argument("by", metavar="NAME")
    arguments = parser.parse_args()
    match arguments.what:
        case "sbom":
            sbom.write_all(ROOT)
        case "update":
            catalogues.update(ROOT)
        case "review":
            catalogues.record_review(ROOT, arguments.code, arguments.by)
        case _:
            return _check()
    return 0


def _check() -> int:
    problems = locks.check(ROOT) or [*sbom.check(ROOT), *wheel.check(ROOT)]
    problems += catalogues.check(ROOT)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
