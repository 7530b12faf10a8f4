"""``python -m eval weights``: which published networks are here, and fetching the others."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--fetch", is_flag=True, help="Download what is missing; every file's hash is checked.")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to look into and to fetch to, as --weights of the other commands; default: torch.hub's.",
)
def weights(fetch: bool, folder: Path | None) -> None:
    """List the networks behind LPIPS and FID: file, where it is, what it is for."""
    from eval.weights import (
        NETWORKS,
        check_published,
        fetch_weights,
        find_weights,
        hub_folder,
        missing_package,
    )

    for network in NETWORKS.values():
        click.echo(f"{network.title}, for {network.purpose}")
        if (need := missing_package(network)) is not None:
            click.echo(f"  {need}")
            continue
        path = find_weights(network, folder)
        if path is None and fetch:
            path = fetch_weights(network, folder or hub_folder())
        elif path is not None:
            check_published(network, path)
        click.echo(f"  {network.file}: {'not here' if path is None else path}")
