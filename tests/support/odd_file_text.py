"""Text of odd PDB and mmCIF files, from the residues that `odd_files` makes."""

from __future__ import annotations

import random

import numpy as np

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FRAME_SHIFT = np.float32([0.01, 0, 0])  # nm from frame to frame


def hybrid36(value: int, width: int) -> str:
    """Number in the hybrid-36 code: decimal, then A000 to ZZZZ, then a000 to zzzz."""
    if value < 10**width:
        return f"{value:{width}d}"
    value -= 10**width
    block = 26 * 36 ** (width - 1)
    lower, value = divmod(value, block)
    value += 10 * 36 ** (width - 1)
    text = ""
    while value:
        value, digit = divmod(value, 36)
        text = _DIGITS[digit] + text
    return text.lower() if lower else text


def _number_field(recipe, number: int, code: str) -> str:
    """Columns 23 to 27."""
    if number <= 9999:
        return f"{number:4d}{code or ' '}"
    style = recipe.wrapped
    if style == "five" and not code:
        return f"{number:5d}"
    if style == "hex":
        return f"{number:04x}{code or ' '}"
    if style == "modulo":
        return f"{number % 10000:4d}{code or ' '}"
    if style == "stars":
        return f"****{code or ' '}"
    return f"{hybrid36(number, 4)}{code or ' '}"


def _chain_name(recipe, index: int) -> str:
    return {
        "letters": "AB"[index], "same": "A", "blank": "", "segids": "", "lower": "ab"[index],
        "digits": "12"[index], "long": ("Heavy", "Heavy-2")[index],
    }[recipe.names]  # fmt: skip


def _element(name: str, residue_name: str) -> str:
    return "SE" if name == "SE" and residue_name == "MSE" else name.lstrip("0123456789")[0]


def pdb_text(recipe, chains, others, frames: int) -> str:
    lines: list[str] = []
    for frame in range(frames):
        if recipe.frames == "MODEL":
            lines.append(f"MODEL     {frame + 1:4d}")
        lines += _pdb_frame(recipe, chains, others, frame * FRAME_SHIFT)
        if recipe.frames == "MODEL":
            lines.append("ENDMDL")
        elif recipe.frames == "END":
            lines.append("END")
    if recipe.frames != "END":
        lines.append("END")
    if recipe.lines == "stripped":
        lines = [line.rstrip() for line in lines]
    end = "\r\n" if recipe.lines == "\r\n" else "\n"
    return end.join(lines) + end


def _pdb_frame(recipe, chains, others, shift) -> list[str]:
    serial = 99_990 if recipe.serials else 1
    lines: list[str] = []

    def add(residue, atom) -> None:
        nonlocal serial
        lines.append(_pdb_line(recipe, residue, atom, serial, shift))
        serial += 1

    moved = []
    for chain in chains:
        for place, residue in enumerate(chain):
            if residue.moved:
                moved.append(residue)
                continue
            for atom in residue.atoms:
                add(residue, atom)
            if recipe.others == "water between" and place == 3 and not residue.chain:
                for atom in others[0].atoms:
                    add(others[0], atom)
        if recipe.ter:
            lines.append("TER")
    for residue in (*moved, *others):
        for atom in residue.atoms:
            add(residue, atom)
    return lines


def _pdb_line(recipe, residue, atom, serial: int, shift) -> str:
    x, y, z = 10 * (atom.xyz + shift)
    element = _element(atom.name, residue.name)
    padded = atom.name if len(element) > 1 or len(atom.name) > 3 else f" {atom.name}"
    letters = atom.residue or residue.name
    if recipe.columns == "left":
        padded = atom.name
    if recipe.case == "lower":
        padded, letters = padded.lower(), letters.lower()
    number = f"{serial:5d}" if serial < 100_000 else "*****"
    if recipe.serials == "hybrid":
        number = hybrid36(serial, 5)
    occupancy = "      " if recipe.occupancy == "blank" else f"{atom.occupancy:6.2f}"
    chain = _chain_name(recipe, residue.chain) or " "
    resname = letters if len(letters) == 4 else f"{letters:>3} "
    line = (
        f"{'HETATM' if residue.hetero else 'ATOM  '}{number} {padded:<4}{atom.alternative:1}"
        f"{resname}{chain}{_number_field(recipe, residue.number, residue.code)}   "
        f"{x:8.3f}{y:8.3f}{z:8.3f}"
    )
    if recipe.columns == "short":
        return line + (
            "" if recipe.names != "segids" else f"{'':18}{'PRO' + 'AB'[residue.chain]:<4}"
        )
    segment = "PRO" + "AB"[residue.chain] if recipe.names == "segids" else ""
    line += f"{occupancy}{0:6.2f}      {segment:<4}"
    return line if recipe.columns in ("no element", "left") else f"{line}{element:>2}  "


_BOTH = (
    "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id",
    "label_asym_id", "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y",
    "Cartn_z", "occupancy", "B_iso_or_equiv", "auth_seq_id", "auth_comp_id", "auth_asym_id",
    "auth_atom_id", "pdbx_PDB_model_num",
)  # fmt: skip


def mmcif_text(recipe, chains, others, frames: int) -> str:
    columns = [c for c in _BOTH if recipe.ids != "label" or not c.startswith("auth_")]
    if recipe.ids == "label":
        columns.remove("pdbx_PDB_ins_code")
    if recipe.ids == "shuffled":
        random.Random(1).shuffle(columns)
    prefix = "_ATOM_SITE." if recipe.case == "lower" else "_atom_site."
    lines = ["data_odd", "#", "loop_", *(prefix + column for column in columns)]
    serial = 0
    for frame in range(frames):
        for residue, label in _ordered(recipe, chains, others):
            for atom in residue.atoms:
                serial += 1
                row = _row(recipe, residue, label, atom, serial, frame)
                lines.append(" ".join(row[column] for column in columns))
    end = "\r\n" if recipe.lines == "\r\n" else "\n"
    return end.join([*lines, "#"]) + end


def _ordered(recipe, chains, others):
    """Residues in the order of the file, with their label_seq_id (None for non-polymers)."""
    moved = []
    for chain in chains:
        for place, residue in enumerate(chain, 1):
            if residue.moved and recipe.ids != "label":
                moved.append((residue, place))
                continue
            yield residue, place
            if recipe.others == "water between" and place == 4 and not residue.chain:
                yield others[0], None
    yield from moved
    for residue in others:
        yield residue, None


def _row(recipe, residue, label, atom, serial: int, frame: int) -> dict[str, str]:
    x, y, z = 10 * (atom.xyz + frame * FRAME_SHIFT)
    auth = _chain_name(recipe, residue.chain)
    labelled = auth if recipe.ids == "label" else "ABCDEFG"[residue.chain]
    if label is None:
        labelled = "X"
    number = str(residue.number if recipe.ids == "label" else label)
    name = atom.residue or residue.name
    name = name.lower() if recipe.case == "lower" else name
    atom_name = f'"{atom.name}"' if "'" in atom.name else atom.name
    return {
        "group_PDB": "HETATM" if residue.hetero else "ATOM", "id": str(serial),
        "type_symbol": _element(atom.name, residue.name), "label_atom_id": atom_name,
        "label_alt_id": atom.alternative or ".", "label_comp_id": name, "label_asym_id": labelled,
        "label_entity_id": "1" if label else "2", "label_seq_id": number if label else ".",
        "pdbx_PDB_ins_code": residue.code or "?", "Cartn_x": f"{x:.3f}", "Cartn_y": f"{y:.3f}",
        "Cartn_z": f"{z:.3f}",
        "occupancy": "." if recipe.occupancy == "blank" else f"{atom.occupancy:.2f}",
        "B_iso_or_equiv": "0.0", "auth_seq_id": str(residue.number), "auth_comp_id": name,
        "auth_asym_id": auth, "auth_atom_id": atom_name, "pdbx_PDB_model_num": str(frame + 1),
    }  # fmt: skip
