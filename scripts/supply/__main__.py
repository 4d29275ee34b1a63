"""`python -m scripts.supply check | sbom`: see the package."""

import argparse
import sys
from pathlib import Path

from scripts.supply import locks, sbom, wheel

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    """Do what was asked; 1 if something is wrong, which is said."""
    parser = argparse.ArgumentParser(prog="python -m scripts.supply", description=__doc__)
    parser.add_argument("what", choices=["check", "sbom"])
    if parser.parse_args().what == "sbom":
        sbom.write_all(ROOT)
        return 0
    problems = locks.check(ROOT) or [*sbom.check(ROOT), *wheel.check(ROOT)]
    for problem in problems:
        print(f"supply chain: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
