"""Model card of a model that `finetune` made."""

from __future__ import annotations

from .finetuning_networks import Tuned
from .finetuning_settings import HELD_BACK
from .md_frames import MDFrames
from .md_scores import tica_settings
from .tuned_amplitude import Amplitude

_CARD = """# {title}

This model was tuned to simulations of one protein with `openmm-slm finetune`, from the weights of
the model `{model}` (checksum {model_sha256}). **It was trained on the trajectories below.** Figures
for this protein are no measure of other proteins. The tokenizer, the side-chain packer and the
network for CA traces are those of `{model}`.

## Data

{residues} residues in {chains}: `{sequence}`

| trajectory | frames | held back | sha256 |
| --- | --- | --- | --- |
{trajectories}

The last {held:.0%} of each trajectory is held back. {train} frames before it were used for
training, and {measured} frames of the held-back part for early stopping and for the table; both are
evenly spaced.

## Training

| network | held-back loss before | after | best step | steps | minutes |
| --- | --- | --- | --- | --- | --- |
{networks}

The loss of the language model is in nats per token. The weights of the best step are kept. Learning
rate {learning_rate:g}, seed {seed}, openmm_slm {openmm_slm}.

{amplitude}

## Samples against the held-back frames

{samples} frames per row: samples with `central.pdb`, the frame nearest to the mean of the part for
training, as `template` with the default settings, and with `noise=0.5`; and samples with
`frames.pdb`, ten evenly spaced frames of that part, and `deform=0.5`. Baselines start from
`central.pdb`: `jitter` is random noise, and `ANM` an elastic network, both as large as the motion
of the part for training. The last row is that part itself: the noise floor.
RMSF r: higher is better; mean RMSF: near that of the last row; the others: lower. JS-TIC has
{lag}.

{table}

The held-back part also decided when training ended. It is of the same simulations, so the table
does not tell how well they cover the conformations of the protein.
"""


_AMPLITUDE = """A `deform` of 1 (`near`) is {near:.2f} times the motion that the springs predict.
It was fitted to the mean RMSF of CA in the part for training, {simulated:.2f} Å; samples had
{sampled:.2f} Å before, with a factor of 1."""


def card_of(
    record: dict, frames: MDFrames, language: Tuned, motions: Tuned,
    amplitude: Amplitude | None, table: str,
) -> str:  # fmt: skip
    """The card, in Markdown."""
    lag = tica_settings(frames.held_lengths)["tica_lag"]
    chains = frames.sequence.count(":") + 1
    rows = []
    for name, tuned in (("language model", language), ("motions", motions)):
        if not tuned.figures:
            rows.append(f"| {name} | not tuned: parts of the protein touch nowhere | | | | |")
            continue
        found = tuned.figures
        rows.append(
            f"| {name} | {found['start']:.3f} | {found['best']:.3f} | {found['step']} | "
            f"{found['steps']} | {found['minutes']:.1f} |"
        )
    return _CARD.format(
        title="Tuned to simulations of one protein",
        model=record["model"]["name"],
        model_sha256=record["model"]["sha256"],
        residues=len(frames.index),
        chains="one chain" if chains == 1 else f"{chains} chains",
        sequence=frames.sequence,
        trajectories="\n".join(
            f"| {each['name']} | {each['frames']} | {each['held_back']} | {each['sha256']} |"
            for each in record["trajectories"]
        ),
        held=HELD_BACK,
        train=len(frames.train),
        measured=len(frames.held),
        networks="\n".join(rows),
        lag="no value: too few frames" if lag is None else f"a lag of {lag} frames of those used",
        amplitude="The amplitude of displacements is that of `{}`.".format(record["model"]["name"])
        if amplitude is None
        else _AMPLITUDE.format(
            near=amplitude["near"],
            simulated=10 * amplitude["simulated"],
            sampled=10 * amplitude["sampled"],
        ),
        table=table,
        **{name: record[name] for name in ("learning_rate", "seed", "openmm_slm", "samples")},
    )
