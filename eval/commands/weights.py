"""``python -m eval weights``: which feature networks are here, and fetching the others."""

from __future__ import annotations

from pathlib import Path

import click

from eval.commands.options import weights_option


@click.command()
@click.option("--fetch", is_flag=True, help="Download what is missing, as `inpaint models download` does.")
@weights_option
def weights(fetch: bool, weights: tuple[Path, ...]) -> None:
    """List the feature networks: columns, file, SHA-256, and where each file is."""
    from eval.measures.definitions import columns_of
    from eval.measures.networks import NETWORKS, fetch_file, find_file, missing_package

    for key, network in NETWORKS.items():
        click.echo(f"{network.title}: {', '.join(columns_of(key))}")
        if (need := missing_package(network)) is not None:
            click.echo(f"  {need}")
        found = find_file(network, weights)
        if found is None and fetch:
            found = fetch_file(network)
        if found is not None:
            click.echo(f"  {found.path}\n  sha256 {found.check()}")
            continue
        for file in network.files:
            where = f"{file.model} of `inpaint models`" if file.model else "comes with the training data"
            click.echo(f"  {file.name}: not here; {where}\n  sha256 {file.sha256}")
