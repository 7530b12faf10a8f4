"""``inpaint models``: which models there are; fetching, checking and removing their weights."""

import click

from inpaint.cli.options import accept_licence_option
from inpaint.errors import WeightsError

_HEADINGS = {
    "inpainter": "To inpaint with (--model):",
    "prior": "Masked autoencoders:",
    "backbone": "Classifiers (inpaint backbones run):",
    "network": "Networks of measures and losses:",
    "selector": "To select objects by a click on the page:",
}


@click.group(invoke_without_command=True, short_help="List, fetch, check and remove models.")
@click.pass_context
def models(ctx: click.Context) -> None:
    """Models by name: published weights are fetched once, checked, and kept in the user's cache.

    Without a command, list them.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@models.command("list", short_help="List the models, and whether they are here.")
def list_() -> None:
    """List the models that can be used by name, and whether their weights are on this machine."""
    from inpaint.weights import find_model_file, list_models

    entries = list_models()
    width = max(len(entry.name) for entry in entries)
    for kind, heading in _HEADINGS.items():
        click.echo(heading)
        for entry in (entry for entry in entries if entry.kind == kind):
            here = "here" if find_model_file(entry) else "missing" if entry.shipped else "to fetch"
            licence = entry.licence.split(";")[0]
            click.echo(
                f"{entry.name:<{width}} {entry.megabytes:7.1f} MB  {licence:<12} {here:<8} {entry.summary}"
            )


@models.command(short_help="Show what is known of a model.")
@click.argument("name")
def info(name: str) -> None:
    """Show what a model is, where it comes from, and what is known of its files."""
    from inpaint.weights import find_model, find_model_file

    entry = find_model(name)
    limits = ", for non-commercial use only" if entry.non_commercial else ""
    lines = [f"{name}: {entry.summary}", f"licence: {entry.licence}{limits}", f"size: {entry.megabytes:g} MB"]
    lines.append(f"here: {find_model_file(entry) or 'no'}")
    lines.append("needs: " + ", or ".join(" and ".join(choice) for choice in entry.choices))
    for file in entry.files:
        lines += [f"file: {file.name}", *(f"  from {source}" for source in file.sources)]
        known = file.sha256 or "not public; recorded at the first download, and compared later"
        lines.append(f"  sha256 {known}" + (f", {file.size} bytes" if file.size else ""))
        lines += [] if file.verified else ["  unverified: no second source confirms this file"]
        lines += [f"  note: {file.note}"] if file.note else []
    click.echo("\n".join(lines))


@models.command(short_help="Download models.")
@click.argument("names", nargs=-1, required=True)
@accept_licence_option
def download(names: tuple[str, ...], accept_licence: bool) -> None:
    """Download models, and convert them where necessary; an interrupted download resumes."""
    from inpaint.weights import find_model
    from inpaint.weights.terminal import fetch_in_terminal

    for name in [find_model(name).name for name in names]:  # all names are checked before the first download
        click.echo(f"{name}: {fetch_in_terminal(name, accept_licence=accept_licence)}")


@models.command(short_help="Check the files of models against their sums.")
@click.argument("names", nargs=-1)
@click.pass_context
def verify(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Check the files of models against their sums; without NAMES, of all that are here."""
    from inpaint.weights import check_model, find_model, list_models

    failed = False
    for entry in [find_model(name) for name in names] or list_models():
        try:
            path = check_model(entry)
            told = "" if path is None and not names else f"ok, {path}" if path else "not here"
        except WeightsError as error:
            told = f"failed: {error}"
        failed |= told.startswith(("failed", "not"))
        if told:
            click.echo(f"{entry.name}: {told}")
    ctx.exit(1 if failed else 0)


@models.command(short_help="Delete models from the cache.")
@click.argument("names", nargs=-1, required=True)
def remove(names: tuple[str, ...]) -> None:
    """Delete what the cache holds of models, unfinished downloads too; files in other folders are kept."""
    from inpaint import weights

    for entry in [weights.find_model(name) for name in names]:
        removed = weights.remove(entry)
        click.echo("\n".join(f"{entry.name}: removed {path}" for path in removed) or f"{entry.name}: nothing")


@models.command()
@click.argument("name", required=False)
def path(name: str | None) -> None:
    """Print where the cache is, or the file of a model that is here."""
    from inpaint.weights import cache_folder, find_model, find_model_file

    found = cache_folder() if name is None else find_model_file(find_model(name))
    if found is None:
        raise WeightsError(f"{name} is not on this machine; get it with: inpaint models download {name}")
    click.echo(found)
