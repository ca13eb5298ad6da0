"""``openmm-slm library``: build, list, describe and verify structure libraries."""

from __future__ import annotations

import click

from ..errors import counted
from .common import directory, example, existing, new, report_errors


@click.group()
def library() -> None:
    """Build, list, describe and verify structure libraries."""


@library.command(
    epilog=example(
        "openmm-slm library build shards -o mylibrary", "openmm-slm library show mylibrary"
    )
)
@click.argument("shards", type=directory)
@click.option("-o", "--output", type=new, required=True, help="Library directory to write.")
@click.option("--profiles", type=existing, help="Sequence profiles (.npz with id, lens and q).")
@click.option(
    "--codes", "codebook", metavar="LIBRARY",
    help="Encode profiles with the codebook of this library [default: a new one].",
)  # fmt: skip
@click.option(
    "--one-per", metavar="COLUMN",
    help="Keep one chain per value of this column of the index, such as cluster90.",
)  # fmt: skip
@click.option(
    "--complexes", is_flag=True,
    help="Keep entries of several chains only, for queries of several chains.",
)  # fmt: skip
@click.option("--card", type=existing, help="Card in Markdown: contents, source, licence.")
@report_errors
def build(shards, output, card, **options):
    """Make a library from the shard directory SHARDS (see `openmm-slm prepare`)."""
    from ..library.building import build_library

    text = card.read_text(encoding="utf-8") if card else None
    counts = build_library(shards, output, card=text, **options)
    click.echo(
        f"{output}: {counted(counts['chains'], 'chain')}, {counts['residues']} residues, "
        f"{counted(counts['profiles'], 'chain')} with a profile"
    )


@library.command("list", epilog=example("openmm-slm library list"))
def list_libraries():
    """List the libraries by name, and where each is."""
    from ..library.registry import registered_libraries, shipped_libraries

    for name, path in shipped_libraries().items():
        click.echo(f"{name:20} {path}")
    for name, point in registered_libraries().items():
        click.echo(f"{name:20} {point.value}")


@library.command(epilog=example("openmm-slm library show default"))
@click.argument("name", default="default")
@report_errors
def show(name):
    """Print the counts and the card of the library NAME (a name or directory)."""
    from ..library.registry import describe_library

    click.echo(describe_library(name))


@library.command(epilog=example("openmm-slm library verify default"))
@click.argument("name", default="default")
@report_errors
def verify(name):
    """Verify the checksums of the library NAME (a name or directory)."""
    from ..library.registry import verify_library

    for line in verify_library(name):
        click.echo(line)
