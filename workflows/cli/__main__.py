"""`python -m terp.workflows.cli`: the command line where there is no script of that name, as in jobs."""

from terp.workflows.cli import main

if __name__ == "__main__":
    main()
