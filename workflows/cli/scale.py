"""`terp scale` and `terp cancel`."""

import click


@click.command("scale")
@click.argument("run")
@click.argument("workers", type=int, required=False)
@click.option("--drain", multiple=True, metavar="NODE", help="Leave this node as regions end, and use it no more.")
@click.option("--undrain", multiple=True, metavar="NODE", help="Use this node again.")
def scale_command(run: str, workers: int | None, drain: tuple[str, ...], undrain: tuple[str, ...]) -> None:
    """Change how many workers a run at a site has at most, or which nodes it uses; nothing is lost by it.

    RUN is an id, a beginning of one, or `last`; WORKERS a number. Within it a run grows and shrinks with its work.
    """
    from terp.storage.home import Home
    from terp.workflows.running.queue import Queue
    from terp.workflows.running.record import load_run
    from terp.workflows.running.scaling import scale
    from terp.workflows.running.standing import standing

    home = Home.here()
    record = load_run(home, run)
    stands = standing(record, Queue())
    click.echo("\n".join(scale(record, stands, record.folder(home), workers, drain, undrain)))


@click.command("cancel")
@click.argument("run", default="last")
def cancel_command(run: str) -> None:
    """Stop a run, wherever its controller and its jobs are; what is recorded stays, and the same command goes on.

    RUN is an id, a beginning of one, or `last`.
    """
    from terp.storage.home import Home
    from terp.workflows.running.record import load_run
    from terp.workflows.running.stopping import stop

    home = Home.here()
    click.echo(stop(home, load_run(home, run), click.echo))
