"""Every number that decides whether a frame is valid.

Lengths are in nm, angles in radians. Ideal bond lengths are in `openmm_slm.protein.geometry`.
"""

from __future__ import annotations

import math

#: Largest deviation of C-N, and of N-CA and CA-C.
PEPTIDE_TOLERANCE, BOND_TOLERANCE = 0.015, 0.01
#: A peptide is cis with |omega| under the first angle, trans from the second on, twisted between.
CIS_OMEGA, TRANS_OMEGA = math.radians(30), math.radians(150)
#: Two heavy atoms more than two bonds apart that are closer than this clash.
CLASH = 0.25
#: Backbones without side chains: CA two or more residues apart are at least this far apart.
CLOSEST_CA = 0.3
#: Radii of heavy atoms in a close contact, by element. All-atom projection moves residues apart to
#: the sum of two.
CONTACT_RADII = {"C": 0.145, "N": 0.135, "O": 0.132, "S": 0.155}
#: Van der Waals radii, by element. The packer counts an overlap below their sum less 0.04.
PACKING_RADII = {"C": 0.17, "N": 0.155, "O": 0.15, "S": 0.18}
