"""``python -m brainrecon``: the command line, as ``brainrecon`` starts it."""

from brainrecon.cli.main import main

if __name__ == "__main__":
    main()
