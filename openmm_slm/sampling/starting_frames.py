"""Frames of a template from which decoding starts, displaced by thermal motion."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..files.report_table import Report
from ..language.masking import masked_residues
from ..models.registry import load_springs
from ..motions.springs import Springs
from ..motions.thermal_motion import MODES, ThermalMotion
from ..protein.geometry import place_oxygen
from ..protein.screw_motion import screw_displaced
from .deformation import is_length, is_soft, multiple_of
from .settings import SamplingSettings
from .state_path import StatePath
from .states import template_rows, template_uses
from .template import Template

_CACHED = 64 * 2**20  # bytes; motions of templates that are kept
_GOLDEN = (np.sqrt(5) - 1) / 2  # its multiples modulo 1 are evenly spread
# Levels in nm. The decoder holds displaced frames at `_HELD`. `_LOOSE` is for frames on a path
# between states, which the tokens must correct more, and for decoders without starting frames.
# At 0.01, less of a displacement is lost in decoding than at 0.05. On 16 validation chains, the
# RMSF of samples has a correlation of 0.98 with that of the springs at 0.01, and of 0.97 at 0.05.
# Of the residues in helices and strands, 87 % stay there at 0.01, and 89 % at 0.05.
_HELD, _LOOSE = 0.01, 0.05
# Multiples of thermal motion are smaller by this factor at `_HELD`. With little noise, samples then
# have the mean RMSF that they have at `_LOOSE`, for which the multiples were compared with MD.
_LESS = 0.84


class StartingFrames:
    """Where each frame of a run starts, and the residues that are sampled again.

    Parameters
    ----------
    settings : SamplingSettings
        The seed must be set.
    template : Template
    tokens : ndarray, int [T, L]
        Tokens of the template's frames.
    chain, index : ndarray, int [L]
        Chain number and residue index.
    springs : Springs, optional
        Default: those of the default model.
    held : bool
        The decoder sees the frames, and can be told to hold them.

    Attributes
    ----------
    level : float
        Level (nm) at which the decoder holds residues whose tokens are kept.
    """

    def __init__(
        self,
        settings: SamplingSettings,
        template: Template,
        tokens: np.ndarray,
        chain: np.ndarray,
        index: np.ndarray,
        springs: Springs | None = None,
        held: bool = True,
    ) -> None:
        self.settings, self.template, self.tokens = settings, template, tokens
        self.chain, self.index = chain, index
        self.path = None
        if settings.path:
            self.path = StatePath(template, tokens, index, settings.n, settings.seed)
        self._springs, self._soft = springs, is_soft(settings.deform)
        self.level = _HELD if held and self.path is None else _LOOSE
        self._less = 1.0 if self.level == _LOOSE or is_length(settings.deform) else _LESS
        # Frames take templates in turn.
        most = _CACHED // (8 * (3 * len(chain)) ** 2)
        self._of_template = lru_cache(maxsize=max(2, most))(self._motion_of_template)

    def rows(self, frames: np.ndarray) -> np.ndarray:
        """Frames of the template from which these start; on a path, the nearest states."""
        return template_rows(self.template, frames) if not self.path else self.path.state(frames)

    def columns(self, frames: np.ndarray) -> Report:
        """Columns of the report: ``relative``, ``state``, ``progress``, those that apply."""
        template, rows, found = self.template, self.rows(frames), {}
        if template.names:
            found["relative"] = np.array(template.names)[rows]
        if template.state is not None:
            found["state"] = template.state[rows]
        if self.path:
            found["progress"] = self.path.progress(frames)
        return found

    def first(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [F, L] and backbones [F, L, 4, 3] of frames before any displacement."""
        if self.path:
            return self.path.starts(frames)
        rows = self.rows(frames)
        return self.tokens[rows], self.template.backbone[rows]

    def displaced(self, frame: int, number: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Backbone [L, 4, 3] displaced by `deform`, and the mask of sampled residues [L].

        `x` is the backbone that the round `number` starts from. The displacements of all rounds
        add up to the size of `deform`.
        """
        key, counter = [self.settings.seed, frame], [0, 0, 1, number]
        rng = np.random.Generator(np.random.Philox(key=key, counter=counter))
        known = np.isfinite(x[:, :3]).all((-1, -2))
        ca, noise = np.where(known[:, None], x[:, 1], np.nan), self.settings.noise
        if known.sum() < 4:  # too few residues for an elastic network
            return x, masked_residues(rng, ca, noise, self.chain)
        if number == 0:
            motion = self._of_template(int(self.rows(np.array([frame]))[0]))
        else:
            motion = self._motion(x, known)
        weight = np.zeros(len(x))
        weight[known] = motion.mean_square()
        masked = masked_residues(rng, ca, noise, self.chain, weight)
        start = x.copy()
        times = multiple_of(self.settings.deform, float(np.sqrt(motion.mean_square().mean())))
        times *= self._less / np.sqrt(self.settings.rounds)
        if times:
            which = None
            if self._soft:
                times *= self._size(frame, number)
                which = self._in_turn(frame) if number == 0 else None
            start[known] = screw_displaced(x[known], motion.displacement(rng, times, which))
        return start, masked

    def _size(self, frame: int, number: int) -> float:
        """Size of a displacement along soft modes: uniform on [0, sqrt(3)], root mean square 1.

        It follows a golden ratio sequence, so that even a few frames cover the interval.
        """
        key, counter = [self.settings.seed, 0], [0, 0, 2, number]
        first = np.random.Generator(np.random.Philox(key=key, counter=counter)).random()
        return np.sqrt(3) * ((first + frame * _GOLDEN) % 1)

    def _in_turn(self, frame: int) -> int | None:
        """Number of a displacement (`ThermalMotion`) among those of one frame of the template.

        Neighbouring frames of the template begin with different ones, so that an ensemble from many
        does not move one way. The first ten times that a frame of the template is used, it moves
        along single modes, each way once; later, there is no number.
        """
        frames = np.array([frame])
        before = int(template_uses(self.template, frames)[0])
        row = int(self.rows(frames)[0])
        return (before + row) % (2 * MODES) if before < 2 * MODES else None

    def _motion_of_template(self, which: int) -> ThermalMotion:
        return self._motion(self.template.backbone[which], self.template.known[which])

    def _motion(self, x: np.ndarray, known: np.ndarray) -> ThermalMotion:
        """Thermal motion of the known residues of a backbone [L, 4, 3]."""
        if self._springs is None:
            self._springs = load_springs("default", "cpu")
        x, index = x[known].astype(np.float64), self.index[known]
        if not np.isfinite(x).all():
            placed = place_oxygen(x[:, :3], np.diff(index, prepend=index[0] - 2) != 1)
            x[:, 3] = np.where(np.isfinite(x[:, 3]), x[:, 3], placed)
        letters = np.array(list(self.template.sequence.replace(":", "")))[known]
        return ThermalMotion(x, "".join(letters), index, self._springs, self._soft)
