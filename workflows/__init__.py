"""What is computed: stages, plans, runs, the flows and the command line."""

if __name__ != "terp.workflows":  # a second name would make a second copy of every class
    raise ImportError(f"import terp.workflows, not {__name__}")
