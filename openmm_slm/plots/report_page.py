"""HTML report page of a sampled ensemble: plots, reasons for invalid frames, settings."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

import numpy as np

from ..errors import SLMError
from ..files.ensemble_folder import read_run
from ..files.html_page import cells, html_page, image, settings_table, table
from ..files.json_file import write_atomically
from ..files.report_table import Report, read_report
from ..validity.reasons import failures
from .contact_maps import neighbours
from .drawing import (
    SAMPLES,
    contact_map,
    new_figure,
    residue_profile,
    torsion_axes,
    torsion_density,
)
from .frames import plot_report
from .overview import Overview, overview
from .profiles import rmsf_axes
from .superposition import draw_superposed, evenly_spaced

PAGE = "report.html"
_SHOWN = 20  # frames drawn superposed
_SPREAD = (
    "The spread of these samples reflects the model's uncertainty and the differences between "
    "crystal structures of one protein. It is not a Boltzmann distribution: shares of frames are "
    "not populations. For populations, run MD from these frames, reweight, or fine-tune on MD."
)
_FOLD = (
    "Sampled from sequence alone: the shipped models then give protein-like backbones, but seldom "
    "the protein's fold (openmm-slm models show). Give a template to sample around a known "
    "structure."
)
_INVALID = (
    "{bad:,} of {all:,} frames are not valid. Relax them (openmm-slm relax) or leave them out "
    "(--drop-invalid) before simulating them."
)


def write_report_page(directory: str | os.PathLike) -> Path:
    """Write ``report.html`` into an ensemble's folder, as a self-contained page.

    At most 20 frames are drawn superposed. All other plots use all frames, read in chunks.

    Parameters
    ----------
    directory : path
        Folder written by `openmm-slm sample` (`EnsembleGenerator.write`). An existing page is
        replaced.

    Returns
    -------
    Path
        Path of the page.

    Raises
    ------
    SLMError
        The folder has no finished ensemble.
    MissingDependencyError
        Matplotlib is missing: the extra ``plots``.
    """
    directory = Path(directory)
    run = read_run(directory)
    if not (directory / "report.csv").exists():
        raise SLMError(f"{directory}: sampling is not finished; continue it with --resume")
    report = read_report(directory)
    stats = None
    if (directory / "samples.xtc").exists():  # missing if all frames were dropped
        shown = report["valid"] if run.get("drop_invalid") else report["finite"]
        stats = overview(directory, report["frame"][shown])
    page = _page(directory.resolve().name, run, report, stats)
    return write_atomically(directory / PAGE, page.encode())


def page_is_old(directory: str | os.PathLike) -> bool:
    """Whether the page in an ensemble's folder is missing or older than its frames."""
    page, report = (Path(directory) / name for name in (PAGE, "report.csv"))
    return not page.exists() or page.stat().st_mtime_ns < report.stat().st_mtime_ns


def _page(name: str, run: dict, report: Report, stats: Overview | None) -> str:
    frames, length = len(report["valid"]), len(run["sequence"].replace(":", ""))
    title = f"{name}: {frames:,} conformation{'s' * (frames > 1)} of {length:,} residues"
    parts = [_summary(run, report, stats), _cautions(run, report)]
    parts += _pictures(stats) if stats else ["<p>There are no frames to draw.</p>"]
    parts += ["<h2>Frames</h2>", _frames_figure(report, stats), _reasons(report)]
    parts += ["<h2>Repeat</h2>", _repeat(run), "<h2>Settings</h2>", settings_table(_flat(run))]
    return html_page(title, "".join(parts))


def _summary(run: dict, report: Report, stats: Overview | None) -> str:
    valid = report["valid"]
    model = (run.get("model") or {}).get("name", "without a name")
    facts = [f"{valid.sum():,} of {len(valid):,} valid", f"model {model}", f"seed {run['seed']}"]
    if run.get("drop_invalid"):
        facts.insert(1, f"{(~valid).sum():,} not valid and left out of samples.xtc")
    if stats:
        low, middle, high = np.quantile(stats.rg, (0.05, 0.5, 0.95))
        range_of_most = f" (5 to 95 %: {low:.2f} to {high:.2f})" if len(stats.rg) > 1 else ""
        facts.append(f"radius of gyration of CA {middle:.2f} nm{range_of_most}")
    return f"<p>{escape('; '.join(facts))}.</p>"


def _cautions(run: dict, report: Report) -> str:
    texts, valid = [_SPREAD], report["valid"]
    if not run.get("template"):
        texts.append(_FOLD)
    if not valid.all() and not run.get("drop_invalid"):
        texts.append(_INVALID.format(bad=int((~valid).sum()), all=len(valid)))
    return f'<div class="caution">{"".join(f"<p>{escape(text)}</p>" for text in texts)}</div>'


def _pictures(stats: Overview) -> list[str]:
    few = evenly_spaced(len(stats.few), _SHOWN)
    picture = new_figure(11, 5)
    for ax, turn in zip(picture.subplots(1, 2), (0, 90), strict=True):
        draw_superposed(ax, stats.rows, stats.few[few], turn, bar=bool(turn))
    which = ", ".join(str(number) for number in stats.few_frames[few])
    note = (
        f"CA of {len(few)} of {len(stats.frame):,} frames ({which}), viewed along two principal "
        "axes. Colours go from dark to light along the sequence; distant parts are paler. Thick: "
        "the frame nearest to the mean."
    )
    parts = ["<h2>Superposed</h2>", image(picture, "superposed frames", True), _note(note)]
    if len(stats.frame) > 1:
        fluctuations = new_figure(11, 2.8)
        ax = fluctuations.subplots()
        residue_profile(ax, stats.rows, stats.rmsf)
        rmsf_axes(ax, stats.rows)
        parts += ["<h2>Fluctuations</h2>", image(fluctuations, "RMSF of each residue")]
    note = (
        "Outlines: regions with 98 and 99.8 % of the residues of known structures (other than "
        "glycine, proline and pre-proline). Contacts: CA within 0.8 nm, 3 or more residues apart."
    )
    return [*parts, "<h2>Torsions, contacts, size</h2>", _shapes(stats), _note(note)]


def _shapes(stats: Overview) -> str:
    figure = new_figure(11, 3.6)
    torsions, contacts, size = figure.subplots(1, 3)
    torsion_density(torsions, stats.torsions)
    torsion_axes(torsions)
    contact_map(contacts, stats.rows, stats.contacts + neighbours(stats.rows.chain))
    size.hist(stats.rg, bins=min(40, max(5, len(stats.rg) // 5)), color=SAMPLES)
    size.set(xlabel="radius of gyration of CA (nm)", ylabel="frames")
    return image(figure, "Ramachandran plot, contact map and radii of gyration")


def _frames_figure(report: Report, stats: Overview | None) -> str:
    rg = np.full(len(report["valid"]), np.nan)
    if stats:
        rg[np.searchsorted(report["frame"], stats.frame)] = stats.rg
    axes = plot_report({**report, "rg_nm": rg}, new_figure(11, 6))
    return image(axes[0].figure, "each frame: log-probability, confidence, size, reasons")


def _reasons(report: Report) -> str:
    valid = report["valid"]
    counts = {what: int(bad.sum()) for what, bad in failures(report).items()}
    counts = {"valid": int(valid.sum()), "not valid": int((~valid).sum()), **counts}
    rows = [
        cells(what, f"{count:,}", f"{count / len(valid):.1%}", kinds=("", "n", "n"))
        for what, count in counts.items()
        if count or what == "valid"
    ]
    note = "A frame may fail for several reasons. report.csv has the values for each frame."
    return table(rows, ("frames that are, or have", "number", "share")) + _note(note)


def _repeat(run: dict) -> str:
    template = run.get("template")
    if not run.get("model"):
        return "<p>Made with a model in memory: sample with that model and the settings below.</p>"
    if template and not template.get("path"):
        return "<p>Made from a template in memory: sample from it with the settings below.</p>"
    return (
        "<p>Run in this folder (with the same machine and versions, the files are identical):</p>"
        "<pre>openmm-slm sample --repeat run.json -o again/</pre>"
    )


def _flat(run: dict) -> dict[str, object]:
    """Settings without nesting: {"model": {"name": ...}} becomes "model name"."""
    out: dict[str, object] = {}
    for key, value in run.items():
        if isinstance(value, dict):
            out |= {f"{key} {name}": inner for name, inner in value.items()}
        else:
            out[key] = value
    return {key: "none" if value is None else value for key, value in out.items()}


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'
