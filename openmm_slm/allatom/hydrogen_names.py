"""Names of the hydrogens of each amino acid and cap, by parent atom (IUPAC-IUB, 1970)."""

from __future__ import annotations

_METHYLENES = {"CB": "HB2 HB3", "CG": "HG2 HG3", "CD": "HD2 HD3"}
# Without the hydrogens of N and CA of residues; those of a variant only are in `_TITRATED`.
_SIDE_CHAINS: dict[str, dict[str, str]] = {
    "ALA": {"CB": "HB1 HB2 HB3"},
    "ARG": {**_METHYLENES, "NE": "HE", "NH1": "HH11 HH12", "NH2": "HH21 HH22"},
    "ASN": {"CB": "HB2 HB3", "ND2": "HD21 HD22"},
    "ASP": {"CB": "HB2 HB3"},
    "CYS": {"CB": "HB2 HB3"},
    "GLN": {"CB": "HB2 HB3", "CG": "HG2 HG3", "NE2": "HE21 HE22"},
    "GLU": {"CB": "HB2 HB3", "CG": "HG2 HG3"},
    "GLY": {},
    "HIS": {"CB": "HB2 HB3", "CD2": "HD2", "CE1": "HE1"},
    "ILE": {"CB": "HB", "CG1": "HG12 HG13", "CG2": "HG21 HG22 HG23", "CD1": "HD11 HD12 HD13"},
    "LEU": {"CB": "HB2 HB3", "CG": "HG", "CD1": "HD11 HD12 HD13", "CD2": "HD21 HD22 HD23"},
    "LYS": {**_METHYLENES, "CE": "HE2 HE3"},
    "MET": {"CB": "HB2 HB3", "CG": "HG2 HG3", "CE": "HE1 HE2 HE3"},
    "PHE": {"CB": "HB2 HB3", "CD1": "HD1", "CD2": "HD2", "CE1": "HE1", "CE2": "HE2", "CZ": "HZ"},
    "PRO": _METHYLENES,
    "SER": {"CB": "HB2 HB3", "OG": "HG"},
    "THR": {"CB": "HB", "OG1": "HG1", "CG2": "HG21 HG22 HG23"},
    "TRP": {"CB": "HB2 HB3", "CD1": "HD1", "NE1": "HE1", "CE3": "HE3", "CZ2": "HZ2",
            "CZ3": "HZ3", "CH2": "HH2"},
    "TYR": {"CB": "HB2 HB3", "CD1": "HD1", "CD2": "HD2", "CE1": "HE1", "CE2": "HE2", "OH": "HH"},
    "VAL": {"CB": "HB", "CG1": "HG11 HG12 HG13", "CG2": "HG21 HG22 HG23"},
}  # fmt: skip
_CAPS = {"ACE": {"CH3": "H1 H2 H3"}, "NME": {"N": "H", "C": "H1 H2 H3"}, "NH2": {"N": "HN1 HN2"}}
_TITRATED: dict[str, dict[str, str]] = {
    "ASH": {"OD2": "HD2"},
    "CYS": {"SG": "HG"},
    "GLH": {"OE2": "HE2"},
    "HID": {"ND1": "HD1"},
    "HIE": {"NE2": "HE2"},
    "HIP": {"ND1": "HD1", "NE2": "HE2"},
    "LYN": {"NZ": "HZ1 HZ2"},
    "LYS": {"NZ": "HZ1 HZ2 HZ3"},
}


def hydrogen_names(residue: str, variant: str | None, first: bool) -> dict[str, list[str]]:
    """Hydrogens of a residue or cap by parent atom.

    Parameters
    ----------
    residue : str
        Standard three-letter name, or the name of a cap.
    variant : str, optional
        Protonation variant; the standard name, or None, for residues that have one form only.
    first : bool
        The residue begins a chain, without a cap: its nitrogen is charged.
    """
    if residue in _CAPS:
        found = _CAPS[residue]
    else:
        found = {"N": "H", "CA": "HA2 HA3" if residue == "GLY" else "HA"}
        if residue == "PRO":
            del found["N"]
        if first:
            found["N"] = "H2 H3" if residue == "PRO" else "H H2 H3"
        found |= {**_SIDE_CHAINS[residue], **_TITRATED.get(variant or "", {})}
    return {parent: names.split() for parent, names in found.items()}
