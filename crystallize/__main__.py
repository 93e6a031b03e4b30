"""``crystallize`` and ``python -m crystallize``: the command line."""

import sys


def main() -> None:
    """Run the command line and end the process with its exit code: 130 if it is interrupted while it is imported."""
    try:
        from crystallize.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
