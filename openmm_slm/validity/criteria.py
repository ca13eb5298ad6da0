"""The thresholds that decide whether a frame is valid.

Lengths are in nm, angles in radians. `openmm_slm.protein.geometry` has the ideal bond lengths.
"""

from __future__ import annotations

import math

#: Largest deviations from the ideal bond lengths, of C-N and of N-CA and CA-C.
PEPTIDE_TOLERANCE, BOND_TOLERANCE = 0.015, 0.01
#: A peptide bond is cis for |omega| < CIS_OMEGA, trans for |omega| >= TRANS_OMEGA, else twisted.
CIS_OMEGA, TRANS_OMEGA = math.radians(30), math.radians(150)
#: Heavy atoms more than two bonds apart clash below this distance.
CLASH = 0.25
#: A metal clashes with N, O and S, which bind it, below METAL_CLASH, and with carbons of a residue
#: that binds it below METAL_CARBON_CLASH.
METAL_CLASH, METAL_CARBON_CLASH = 0.16, 0.2
#: Smallest distance of CA two or more residues apart, in backbones without side chains.
CLOSEST_CA = 0.3
#: Contact radii of heavy atoms by element. All-atom projection moves residues apart until atoms
#: are separated by the sum of their radii.
CONTACT_RADII = {"C": 0.145, "N": 0.135, "O": 0.132, "S": 0.155}
#: Van der Waals radii by element. For the packer, atoms overlap below the sum of their radii minus
#: 0.04 nm.
PACKING_RADII = {"C": 0.17, "N": 0.155, "O": 0.15, "S": 0.18}
