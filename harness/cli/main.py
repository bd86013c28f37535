"""Entry point of the program `cnilab`: nothing heavy here, so that Ctrl-C is quiet from the first moment on."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from harness import caller  # noqa: PLC0415 - as below

        caller.settle()
        from harness.cli.app import run  # noqa: PLC0415 - an interrupt while this imports must not show a traceback

        code = run()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
