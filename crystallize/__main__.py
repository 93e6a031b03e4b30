"""``python -m crystallize``: the command line."""

from crystallize.cli.app import main

if __name__ == "__main__":
    main()
