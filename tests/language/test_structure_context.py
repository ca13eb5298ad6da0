"""Structure contexts of a language model: invariance, and no use of absent tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from openmm_slm.errors import StructureError
from openmm_slm.language.masked_diffusion import MaskedDiffusion, MaskedDiffusionConfig
from openmm_slm.language.structure_context import (
    CA_ONLY,
    FRAME,
    NOWHERE,
    VIRTUAL,
    StructureContext,
    check_places,
)
from openmm_slm.language.t5 import T5, T5Config
from openmm_slm.protein.sequence import sequence_layout

SIZES = {
    "trunk_width": 32, "trunk_layers": 2, "trunk_heads": 4, "width": 32, "layers": 1, "heads": 4,
    "pair": 4,
}  # fmt: skip
SEEING = {"structure": 2, "edge": 16, "neighbours": 12}


def chain(length: int, seed: int = 0) -> np.ndarray:
    """A compact chain of residues [L, 4, 3] that turn at random."""
    rng = np.random.default_rng(seed)
    ca = np.cumsum(rng.normal(0, 0.22, (length, 3)), 0) * 0.7
    atoms = ca[:, None] + rng.normal(0, 0.1, (length, 4, 3))
    atoms[:, 1] = ca
    return atoms.astype(np.float32)


def turned(x: np.ndarray, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return x @ (q * np.sign(np.linalg.det(q))).astype(np.float32) + np.float32(5)


def trained_at_random(network: torch.nn.Module) -> torch.nn.Module:
    """No branch left at zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for value in network.parameters():
            if not value.any():
                value.normal_(std=0.3)
    return network.eval()


def example(length: int = 30, absent: slice = slice(10, 18)):
    backbone, index = chain(length), np.arange(length)
    level = np.zeros(length, np.float32)
    level[absent] = np.inf
    known = np.random.default_rng(2).integers(0, 512, length)
    known[absent] = -1
    return backbone, level, index, known


def logits(network: T5, backbone, level, index, known, rows: int = 1) -> torch.Tensor:
    told = StructureContext.of(backbone, level, index).tensors()
    letters = torch.arange(len(index))[None] % 20
    layout = letters, torch.ones_like(letters, dtype=torch.bool), torch.as_tensor(index)[None]
    given = torch.as_tensor(known)[None]
    with torch.no_grad():
        memory = network.read(
            *(x.expand(rows, -1) for x in (*layout, given)), context=told.expand(rows)
        )
        return network.head(network.hidden(memory, given.expand(rows, -1)))


@pytest.fixture(scope="module")
def network() -> T5:
    return trained_at_random(T5(T5Config(**SIZES, **SEEING)))


@pytest.mark.parametrize("ca_alone", [False, True])
def test_logits_do_not_change_when_the_molecule_turns(network: T5, ca_alone: bool) -> None:
    backbone, *rest = example()
    if ca_alone:
        backbone[:, [0, 2, 3]] = np.nan
    before, after = (logits(network, x, *rest) for x in (backbone, turned(backbone)))
    torch.testing.assert_close(before, after, atol=2e-4, rtol=1e-3)


def test_logits_change_in_the_mirror(network: T5) -> None:
    backbone, *rest = example()
    before, after = (logits(network, x, *rest) for x in (backbone, backbone * [1, 1, -1]))
    assert (before - after).abs().max() > 1e-2


def test_coordinates_of_absent_residues_are_not_read(network: T5) -> None:
    backbone, level, *rest = example()
    other = backbone.copy()
    other[10:18] += 3
    assert torch.equal(
        logits(network, backbone, level, *rest), logits(network, other, level, *rest)
    )
    other[10:18] = np.nan
    assert torch.equal(
        logits(network, backbone, level, *rest), logits(network, other, level, *rest)
    )


def test_known_frames_are_read(network: T5) -> None:
    backbone, *rest = example()
    other = backbone.copy()
    other[20] += 0.1
    difference = (logits(network, backbone, *rest) - logits(network, other, *rest)).abs()
    assert difference[0, 10:18].max() > 1e-3


@pytest.mark.parametrize("kind, config", [(T5, T5Config), (MaskedDiffusion, MaskedDiffusionConfig)])
def test_a_new_structure_input_says_nothing(kind: type, config: type) -> None:
    blind = trained_at_random(kind(config(**SIZES)))
    seeing = kind(config(**SIZES, **SEEING)).eval()
    seeing.load_state_dict(blind.state_dict(), strict=False)
    backbone, level, index, known = example()
    told = StructureContext.of(backbone, level, index).tensors()
    letters = torch.arange(30)[None] % 20
    layout = letters, torch.ones_like(letters, dtype=torch.bool), torch.as_tensor(index)[None]
    name, more = ("read", (torch.as_tensor(known)[None],)) if kind is T5 else ("condition", ())
    with torch.no_grad():
        first = getattr(blind, name)(*layout, *more)
        second = getattr(seeing, name)(*layout, *more, context=told)
    assert torch.equal(first.state, second.state)


def test_no_known_residue_is_no_context(network: T5) -> None:
    backbone, _, index, known = example()
    nothing = logits(network, backbone, np.full(30, np.inf), index, known)
    letters = torch.arange(30)[None] % 20
    layout = letters, torch.ones_like(letters, dtype=torch.bool), torch.as_tensor(index)[None]
    with torch.no_grad():
        memory = network.read(*layout, torch.as_tensor(known)[None])
        blind = network.head(network.hidden(memory, torch.as_tensor(known)[None]))
    torch.testing.assert_close(nothing, blind)


def test_a_row_of_a_batch_is_as_it_is_alone(network: T5) -> None:
    given = example()
    alone, three = logits(network, *given), logits(network, *given, rows=3)
    torch.testing.assert_close(three, alone.expand(3, -1, -1), atol=1e-5, rtol=1e-5)


def test_padding_changes_nothing(network: T5) -> None:
    backbone, level, index, known = example()
    told = StructureContext.stacked([StructureContext.of(backbone, level, index)], 40).tensors()
    letters = torch.full((1, 40), 20)
    letters[0, :30] = torch.arange(30) % 20
    mask = torch.arange(40)[None] < 30
    position, given = torch.zeros(1, 40, dtype=torch.long), torch.full((1, 40), -1)
    position[0, :30], given[0, :30] = torch.as_tensor(index), torch.as_tensor(known)
    with torch.no_grad():
        memory = network.read(letters, mask, position, given, context=told)
        found = network.head(network.hidden(memory, given))[:, :30]
    expected = logits(network, backbone, level, index, known)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_places_of_absent_residues() -> None:
    backbone, level, index, _ = example()
    level[:3] = np.inf
    backbone[25, [0, 2]] = np.nan
    told = StructureContext.of(backbone, level, index)
    assert (told.kind[[0, 12]] == VIRTUAL).all() and told.kind[25] == CA_ONLY
    assert (told.kind[[3, 9, 18]] == FRAME).all()
    np.testing.assert_array_equal(told.anchors[12], [8, 9, 18, 19])
    np.testing.assert_array_equal(told.anchors[0], [-1, -1, 3, 4])
    step = np.linalg.norm(np.diff(told.origin[9:19], axis=0), axis=-1)
    assert step.max() < 0.6, "virtual places lead from one known neighbour to the other"


def test_a_chain_of_which_nothing_is_known_is_nowhere() -> None:
    _, chains, index = sequence_layout(("A" * 20, "G" * 10))
    backbone, level = chain(30), np.where(chains == 0, 0, np.inf)
    told = StructureContext.of(backbone, level, index)
    assert (told.kind[:20] == FRAME).all() and (told.kind[20:] == NOWHERE).all()


def straight(length: int = 10, step: float = 0.38) -> np.ndarray:
    backbone = np.zeros((length, 4, 3), np.float32)
    backbone[..., 0] = np.arange(length)[:, None] * step
    backbone[..., 1] = [0.1, 0, 0.1, 0.2]
    return backbone


def test_a_good_context_passes() -> None:
    backbone, index = straight(), np.arange(10)
    backbone[4] = np.nan
    check_places(backbone, np.zeros(10), index)
    check_places(straight(step=0.5), np.full(10, 0.1), index)  # soft: it may be anywhere


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, s: x[5:, :, 0].__iadd__(0.2), "residues 4 and 5 are 0.580 nm apart"),
        (lambda x, s: x.__imul__(10), "residues 0 and 1 are 3.800 nm apart"),
        (lambda x, s: x[3, 1, :1].fill(np.nan), "atom 1 of residue 3"),
        (lambda x, s: s[2:3].fill(-1), "level of residue 2 is -1.0"),
        (lambda x, s: s[7:8].fill(np.nan), "level of residue 7 is nan"),
    ],
)
def test_what_is_wrong_is_named(change, message: str) -> None:
    backbone, level = straight(), np.zeros(10)
    change(backbone, level)
    with pytest.raises(StructureError, match=message):
        check_places(backbone, level, np.arange(10))


def test_a_context_of_another_sequence_is_named() -> None:
    with pytest.raises(StructureError, match="of 10 residues, the sequence has 12"):
        check_places(straight(), np.zeros(10), np.arange(12))
