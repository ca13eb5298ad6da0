"""Protonation variants that the input states by residue names or by hydrogens."""

from __future__ import annotations

from collections.abc import Collection

from .atoms import residue_letter

#: Names of AMBER, CHARMM and GROMACS that state a protonation, and AMBER's name of the variant.
_BY_NAME = {
    "ASH": "ASH", "ASPH": "ASH", "ASPP": "ASH", "GLH": "GLH", "GLUH": "GLH", "GLUP": "GLH",
    "LYN": "LYN", "LYSN": "LYN", "LSN": "LYN", "CYM": "CYM", "HID": "HID", "HSD": "HID",
    "HISA": "HID", "HISD": "HID", "HIE": "HIE", "HSE": "HIE", "HISB": "HIE", "HISE": "HIE",
    "HIP": "HIP", "HSP": "HIP", "HSH": "HIP", "HISH": "HIP",
}  # fmt: skip
# The pH up to which OpenMM's Modeller protonates a side chain, and its two forms.
_CHANGES = {
    "D": (4.4, "ASH", ("ASP",)),
    "E": (4.4, "GLH", ("GLU",)),
    "H": (6.5, "HIP", ("HID", "HIE")),
    "K": (10.0, "LYS", ("LYN",)),
}


def stated_variant(name: str, atoms: Collection[str]) -> str:
    """Variant that a residue name or the hydrogens of the residue state.

    The forms of Asp, Glu, Lys and Cys at pH 7 are no statement: every file has them.

    Parameters
    ----------
    name : str
        Residue name of AMBER, CHARMM or GROMACS.
    atoms : collection of str
        Names of the residue's atoms, with or without hydrogens.

    Returns
    -------
    str
        ASH, GLH, LYN, CYM, HID, HIE or HIP; empty if none is stated.
    """
    name = name.strip().upper()
    if len(name) == 4 and name[0] in "NC" and name[1:] in _BY_NAME:
        name = name[1:]
    if name in _BY_NAME:
        return _BY_NAME[name]
    # Old PDB files write 1HZ for HZ1.
    names = {atom.lstrip("123") + atom[: len(atom) - len(atom.lstrip("123"))] for atom in atoms}
    letter = residue_letter(name)
    if letter == "H":
        tautomers = {(True, False): "HID", (False, True): "HIE", (True, True): "HIP"}
        return tautomers.get(("HD1" in names, "HE2" in names), "")
    if letter == "D" and {"HD1", "HD2"} & names:
        return "ASH"
    if letter == "E" and {"HE1", "HE2"} & names:
        return "GLH"
    return "LYN" if letter == "K" and len({"HZ1", "HZ2", "HZ3"} & names) == 2 else ""


def usual_variants(letter: str, ph: float) -> tuple[str, ...]:
    """Variants that `ph` gives a residue; empty if they do not depend on it."""
    if letter not in _CHANGES:
        return ()
    limit, protonated, others = _CHANGES[letter]
    return (protonated,) if ph <= limit else others
