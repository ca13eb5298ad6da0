"""Search for related sequences: what evolution does is found, what chance does is not."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from openmm_slm.protein.sequence import AMINO_ACIDS
from openmm_slm.protein.sequence_search import SequenceLibrary

# Of residues in proteins, % (Robinson & Robinson, PNAS 1991); scores assume such sequences.
SHARES = dict(
    A=7.8, R=5.1, N=4.5, D=5.4, C=1.9, Q=4.3, E=6.3, G=7.4, H=2.2, I=5.1,
    L=9.1, K=5.7, M=2.2, F=3.9, P=5.2, S=7.1, T=5.8, W=1.3, Y=3.2, V=6.4,
)  # fmt: skip


def random_sequence(rng: np.random.Generator, length: int) -> str:
    share = np.array([SHARES[letter] for letter in AMINO_ACIDS])
    return "".join(rng.choice(list(AMINO_ACIDS), length, p=share / share.sum()))


def evolved(rng, sequence: str, changed: float) -> tuple[str, dict[int, int]]:
    """A descendant with substitutions, a gap, an insertion, a foreign start; partners."""
    letters = [c if rng.random() > changed else random_sequence(rng, 1) for c in sequence]
    cut, grown = len(sequence) // 3, 2 * len(sequence) // 3
    parts = [(None, random_sequence(rng, 30)), (0, "".join(letters[:cut]))]
    parts += [(cut + 4, "".join(letters[cut + 4 : grown])), (None, random_sequence(rng, 5))]
    parts += [(grown, "".join(letters[grown:]))]
    out, partner = "", {}
    for first, text in parts:
        if first is not None:
            partner |= {first + k: len(out) + k for k in range(len(text))}
        out += text
    return out, partner


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(90, 250))
def test_a_descendant_is_found_and_laid_where_it_belongs(seed, length):
    rng = np.random.default_rng(seed)
    sequence = random_sequence(rng, length)
    other, partner = evolved(rng, sequence, 0.4)
    library = SequenceLibrary([*(random_sequence(rng, 200) for _ in range(30)), other])
    hit = min(library.search(sequence), key=lambda hit: hit.e_value)
    assert hit.number == 30 and hit.e_value < 1e-6
    pairs = [(i, j) for i, j in hit.places.T.tolist()]
    assert (np.diff(hit.places, axis=1) > 0).all()
    right = sum(partner.get(i) == j for i, j in pairs)
    # By chance some ends are laid elsewhere: 0.99 and 0.97 of them are right in the median.
    assert right > 0.75 * len(pairs) and right > 0.65 * len(partner)
    same = np.mean([sequence[i] == other[j] for i, j in pairs])
    assert hit.identity == same and hit.coverage == len(pairs) / length


def test_chance_is_told_from_kinship():
    """Of 40 searches among unrelated sequences, E < 0.05 is expected twice or less."""
    rng = np.random.default_rng(0)
    library = SequenceLibrary([random_sequence(rng, 150) for _ in range(100)])
    best = [
        min((hit.e_value for hit in library.search(random_sequence(rng, 150))), default=np.inf)
        for _ in range(40)
    ]
    assert np.sum(np.array(best) < 0.05) <= 5
    assert np.median(best) > 0.1  # only candidates are aligned: chance hits are missed, not made


def test_scores_are_those_of_blosum62_with_gaps_of_eleven_and_one():
    """By hand: W-W 11 and K-K 5, so 60 W are 660; a gap of three costs 13."""
    bits = lambda score: (0.267 * score - np.log(0.041)) / np.log(2)  # noqa: E731
    whole, gapped = SequenceLibrary(["W" * 60, "W" * 20 + "KKK" + "W" * 20]), "W" * 40
    found = {hit.number: hit.bits for hit in whole.search(gapped)}
    assert abs(found[0] - bits(440)) < 1e-9 and abs(found[1] - bits(440 - 13)) < 1e-9


def test_ends_and_unknown_letters_make_no_words():
    library = SequenceLibrary(["ACD", "EFG", "XXXXXX", "", "AC", "DEFGACDEFG"])
    assert [hit.number for hit in library.search("CDEFGACD")] == [5]
    assert list(library.search("AC")) == [] and list(library.search("XXXXX")) == []
