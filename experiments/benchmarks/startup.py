"""How long a command takes to answer: `python -m experiments.benchmarks.startup`.

`cli.py --help` over importing torch, of which it needs nothing, and `cli.py fit --help all` over importing Lightning
and transformers, whose options it lists. Every run is a process of its own; bytecode is compiled and files are in the
system's cache beforehand.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.benchmarks.markdown import table
from experiments.benchmarks.timing import in_turn

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "lightning", "transformers")
HEADER = ("command", "over", "ratio", "95 %", f"imports of {', '.join(HEAVY)}")
COMPARED = ((("--help",), "import torch"), (("fit", "--help", "all"), "import lightning, transformers"))


def runner(*arguments: str) -> Callable[[], None]:
    """Runs Python with these arguments at the root of the repository."""

    def run() -> None:
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    return run


def heavy_imports(arguments: Sequence[str]) -> list[str]:
    """Which of the heavy packages a command of `cli.py` has imported when it ends."""
    program = (
        "import atexit, sys, cli\n"
        f"atexit.register(lambda: sys.stderr.write(' '.join(name for name in {HEAVY!r} if name in sys.modules)))\n"
        f"cli.main({list(arguments)!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stderr.split("\n")[-1].split()


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="runs of each side (%(default)s)")
    asked = parser.parse_args(arguments)
    rows = []
    for command, imports in COMPARED:
        paired = in_turn(runner("cli.py", *command), runner("-c", imports), asked.repeats)
        low, high = paired.interval
        name = f"cli.py {' '.join(command)}"
        found = ", ".join(heavy_imports(command)) or "none"
        rows.append([name, imports, f"{paired.ratio:.2f}", f"{low:.2f} to {high:.2f}", found])
    sys.stdout.write(table(HEADER, rows))


if __name__ == "__main__":
    main()
