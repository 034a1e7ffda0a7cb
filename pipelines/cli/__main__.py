"""Run the command line: `python -m pipelines.cli` is the same as `groundswell`."""

from pipelines.cli.app import main

if __name__ == "__main__":
    main()
