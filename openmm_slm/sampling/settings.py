"""Settings of a sampling run, checked."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING

from ..errors import SLMError
from ..files.options import documented, option, set_checked
from ..files.quantities import in_nanometers
from ..relaxation.relaxation_settings import checked_relax
from .deformation import NAMED, checked_deform

if TYPE_CHECKING:
    from ..language.interface import StructureLanguageModel

logger = logging.getLogger(__name__)

TRAINED_LENGTH = 512  # residues; longer sequences get a warning
NOISE = 0.02  # default with a template: share of tokens


@documented
@dataclass(frozen=True)
class SamplingSettings:
    """All settings that determine an ensemble; each is checked when the object is made.

    The names are the keys of ``run.json``.

    Parameters
    ----------
    sequence : str
        One-letter amino acids, ``:`` between chains.
    n : int
        Number of conformations.
    template, condition : dict, optional
        Source and checksum (the `identity` of a `Template` and a `SequenceCondition`).
    resample : list of int, optional
        Rows of the sequence that are sampled; all others keep their atoms.
    disordered : list of int, optional
        Rows of the sequence that are disordered.
    {options}

    Raises
    ------
    ValueError
        Names the setting, its value and the allowed values.
    """

    sequence: str
    n: int
    temperature: float | None = option(
        None,
        "float, optional",
        """Sampling temperature of the tokens; below 1 samples are less diverse. Default: the
        model's own, which is 1 except for ESM3 as released.""",
        brief="Sampling temperature; below 1: less diverse [default: the model's, 1].",
    )
    top_p: float | None = option(
        None,
        "float, optional",
        """Nucleus sampling: draw from the most likely tokens that together have this probability.
        Default: the model's own, which is 1 except for ESM3 as released.""",
        brief="Nucleus sampling: total probability of the tokens to draw from [default: the "
        "model's, 1].",
    )
    steps: int | None = option(
        None,
        "int, optional",
        "Denoising steps of a masked diffusion model (default 25).",
        brief="Denoising steps of masked diffusion [default: 25].",
    )
    order: str | None = option(
        None,
        "str, optional",
        """Order in which a masked diffusion model unmasks tokens: ``"ancestral"`` (default) or
        ``"confidence"`` (the most likely first, which sharpens the distribution). ESM3 as released
        also has ``"iterative"`` (its default) and ``"entropy"``.""",
        brief="Order in which masked diffusion unmasks tokens [default: ancestral].",
        choices=("ancestral", "confidence", "iterative", "entropy"),
    )
    guidance: float = option(
        0.0,
        "float",
        """Weight w of classifier-free guidance: above 0 the sequence counts for more. Sampling
        takes twice the time.""",
        brief="Weight of classifier-free guidance; above 0 the sequence counts for more.",
    )
    log_prob: str = option(
        "path",
        '"path" or "bound"',
        """Reported log-probability. ``"path"``: of the choices made during sampling. ``"bound"``:
        a lower bound of the log-probability of the tokens, with its standard error.""",
        brief="Reported log-probability: of the sampling path, or a lower bound for the tokens.",
        choices=("path", "bound"),
    )
    condition: dict | None = None
    template: dict | None = None
    noise: float | None = option(
        None,
        "float, optional",
        """Share of the template's residues whose tokens are masked and sampled again, 0 to 1; all
        residues may move. Default with a template and without `resample`: 0.02.""",
        brief="Share of the template's residues sampled again [default with a template: 0.02].",
    )
    resample: list | None = None
    disordered: list | None = None
    rg: float | None = option(
        None,
        "Quantity or float, optional",
        """Radius of gyration (CA, nm) to which frames with disordered residues are biased. Default:
        none; the sizes follow from the sequence.""",
        brief="Bias disordered chains to this radius of gyration (CA), nm.",
    )
    best: int | None = option(
        None,
        "int, optional",
        """With `resample`: return only so many of the n frames, of high ``segment_score`` and with
        segments 0.15 nm apart if there are enough; best first.""",
        brief="With --resample: keep so many of the n frames, of high segment_score and distinct.",
    )
    fragments: str | dict | None = option(
        "auto",
        "str, dict or None",
        """Library of fragments for residues of a template that are missing or resampled: ``"auto"``
        (shipped), name, folder, dict of ``library``, ``splits``, ``exclude`` (chains), or None.""",
        brief="With --template: library of fragments: auto (shipped), a name or folder, or none.",
    )
    rounds: int = option(
        1,
        "int",
        "Cycles of displacement (`deform` is the size of all together) and resampling.",
        brief="Cycles of displacement and resampling.",
    )
    deform: str | float | None = option(
        None,
        "float, str or Quantity, optional",
        """Displacement of the template before decoding: thermal motion of the size ``"near"`` (1,
        as in crystals and short MD), ``"md"`` (1.7, half a microsecond) or any multiple; or along
        soft modes, ``"conformers"`` (0.9), ``"far"`` (2.4) or such as ``"2 soft"``. A length (a
        Quantity, or ``"0.1 nm"``) is the root mean square displacement of CA. Default with `noise`:
        ``"near"``, for relatives ``"conformers"``. 0: none.""",
        brief="Displacement of the template: near, md, conformers, far, a multiple of its thermal "
        "motion, or a length such as 0.1nm; '2 soft': along soft modes [default with noise: near; "
        "with relatives: conformers].",
    )
    min_plddt: float | None = option(
        None,
        "float, optional",
        """Residues of a template with pLDDT under this are sampled, not copied; 0: none. Default:
        50 for predicted models that state pLDDT (`openmm_slm.protein.plddt`). For other files, a
        number says that the B column is pLDDT.""",
        brief="Sample residues of the template with pLDDT under this [default: 50 for models that "
        "state pLDDT].",
    )
    path: bool = option(
        False,
        "bool",
        """With several states as `template`: the n frames follow a path from the first state to the
        last, in order (`openmm_slm.sampling.state_path`). `deform` is 0 by default then.""",
        brief="Frames follow a path from the first --template to the last, in order.",
    )
    keep: str = option(
        "auto",
        "str",
        """Groups of a template besides protein that stay, each rigid with the residues around it:
        ``"auto"`` (ligands, cofactors, nucleic acids and metals within 0.6 nm of the protein, but
        not buffers), ``"all"`` (waters too), ``"none"``, or an MDTraj selection.""",
        brief="What stays of a template besides protein: auto (ligands and metals), all (waters "
        "too), none, or an MDTraj selection.",
    )
    seed: int | None = option(
        None,
        "int, optional",
        """Random seed; frame i depends on (seed, i) alone. Default: a seed is drawn, logged and
        written to ``run.json``.""",
        brief="Random seed; the same seed repeats a run [default: drawn].",
    )
    batch_size: int | None = option(
        None,
        "int, optional",
        """Frames per batch. It changes no token. Coordinates change by rounding, which now and
        then gives a clashing side chain another rotamer.""",
        brief="Frames per batch [default: by length].",
    )
    project: bool = option(
        True,
        "bool",
        """Close the peptide bonds of decoded frames (`openmm_slm.projection.close_peptides`) and
        move residues apart whose side chains clash. The report says how far atoms moved.""",
        brief="Close peptide bonds and move clashing residues apart [default: yes].",
    )
    sidechains: str | None = option(
        "packer",
        '"packer", "pdbfixer" or None',
        """Method that builds side chains (see `openmm_slm.complete`). None: frames have N, CA, C
        and O only.""",
        brief="Method that builds side chains; none: N, CA, C and O only.",
        choices=("packer", "pdbfixer", "none"),
    )
    hydrogens: bool = option(
        True,
        "bool",
        "Add hydrogens. Frames without side chains get none.",
        brief="Add hydrogens [default: yes].",
    )
    ph: float = option(7.0, "float", "pH that determines the protonation states.")
    protonation: str = option(
        "input",
        '"input" or "ph"',
        """Residues of a template with forms other than those of pH 7 (ASH, GLH, LYN, HIP, CYM), and
        tautomers of neutral histidines: ``"input"`` keeps them, ``"ph"`` decides by `ph`.""",
        brief="Unusual protonation in the input (ASH, HIP, ...): input keeps it, ph goes by --ph.",
        choices=("input", "ph"),
    )
    disulfides: str | list | None = option(
        "auto",
        '"auto", "none" or iterable of (int, int)',
        "Bonded cysteines, as in `openmm_slm.complete`.",
        brief="Disulfide bonds: auto, none, or pairs of residues counted from 0: 4-54,13-37.",
    )
    relax: bool | dict = option(
        False,
        "bool or dict",
        """Minimise every frame with OpenMM. A dict gives settings of `openmm_slm.relax`, such as
        ``{"solvent": "obc2"}``. The report then also has the columns of `openmm_slm.relax`.""",
        brief="Minimise every frame with OpenMM.",
    )
    drop_invalid: bool = option(
        False,
        "bool",
        """Leave out frames with invalid geometry (`openmm_slm.validity.report`). By default they
        are kept, and one warning counts them.""",
        brief="Leave out frames with invalid geometry.",
    )

    def __post_init__(self) -> None:
        # Imported here, because `openmm-slm --help` imports this file and must not load NumPy.
        from ..allatom.completer import check_method
        from ..allatom.topology import check_ph, check_protonation
        from ..language.interface import check_integer, check_sampling
        from ..protein.disulfides import parse_disulfides
        from ..protein.sequence import parse_sequence

        set_checked(self, "sequence", ":".join(parse_sequence(self.sequence)))
        check_integer("n", self.n, 1, "the number of conformations")
        if self.batch_size is not None:
            check_integer("batch_size", self.batch_size, 1, "frames per batch, or None")
        if self.seed is not None:
            check_integer("seed", self.seed, 0, "the random seed, or None")
        check_sampling(self.temperature, self.top_p, self.steps, self.guidance)
        if self.log_prob not in ("path", "bound"):
            raise SLMError(
                f"log_prob is {self.log_prob!r}; give 'path' (of the sampling path) or 'bound' "
                "(lower bound for the tokens, with its error)"
            )
        self._check_template()
        if self.sidechains is not None:
            check_method(self.sidechains)
        check_ph(self.ph)
        check_protonation(self.protonation)
        if self.disulfides != "auto":  # as lists, which JSON reads back unchanged
            pairs = parse_disulfides(self.disulfides, None, self.sequence.replace(":", ""))
            set_checked(self, "disulfides", [list(pair) for pair in pairs])
        all_atoms = self.sidechains is not None and self.hydrogens
        set_checked(self, "relax", checked_relax(self.relax, all_atoms))

    def _check_template(self) -> None:
        from ..language.interface import check_integer
        from ..protein.keep_selection import check_keep
        from ..protein.plddt import checked_plddt
        from .fragment_choice import checked_fragments

        own = self.template is not None and "relatives" not in self.template
        set_checked(self, "fragments", checked_fragments(self.fragments, own))
        set_checked(self, "min_plddt", checked_plddt(self.min_plddt))
        if self.min_plddt is not None and "relatives" in (self.template or {"relatives": None}):
            raise SLMError(
                f"min_plddt is {self.min_plddt:g}, but no template is given; give template, or "
                "leave min_plddt out"
            )
        set_checked(self, "keep", check_keep(self.keep))
        given = [name for name in ("noise", "resample") if getattr(self, name) is not None]
        if given and self.template is None:
            raise SLMError(f"{given[0]} changes residues of a template; give template too")
        if len(given) == 2:
            raise SLMError(
                "noise and resample exclude each other: noise picks residues at random, resample "
                "names them; give one"
            )
        if self.template is not None and not given:
            set_checked(self, "noise", NOISE)
        number = isinstance(self.noise, Real) and not isinstance(self.noise, bool)
        if self.noise is not None and not (number and 0 < self.noise <= 1):
            raise SLMError(f"noise is {self.noise!r}; give a share of the residues: 0 < noise <= 1")
        if self.best is not None:
            if not set(self.resample or ()) - set(self.disordered or ()):
                raise SLMError(
                    f"best is {self.best!r}, but only resampled segments have a score; "
                    "give resample, or leave best out"
                )
            check_integer("best", self.best, 1, "the number of frames to keep, or None")
            if self.best > self.n:
                raise SLMError(f"best is {self.best}, but n is {self.n}; give best <= n")
        check_integer("rounds", self.rounds, 1, "the cycles of displacement and resampling")
        if self.rounds > 1 and self.noise is None:
            raise SLMError(f"rounds is {self.rounds}, but noise is None; give template and noise")
        if self.path:
            self._check_path()
        set_checked(self, "deform", self._checked_deform())
        if self.rg is not None:
            set_checked(self, "rg", self._checked_rg())

    def _check_path(self) -> None:
        states = len((self.template or {}).get("states", ()))
        if states < 2:
            found = "one template is given" if self.template else "no template is given"
            raise SLMError(
                f"path is True, but {found}; give two or more states: template=[first, last] "
                "(--template FIRST --template LAST)"
            )
        for name in ("disordered", "resample"):
            if getattr(self, name):
                raise SLMError(
                    f"path and {name} exclude each other: all residues move along the path; give "
                    "one"
                )
        if self.n < states:
            raise SLMError(f"n is {self.n}, but the path has {states} states; give n >= {states}")

    def _checked_rg(self) -> float:
        """`rg` in nm."""
        from ..disorder.wished_size import check_rg

        if not self.disordered:
            raise SLMError(
                f"rg is {self.rg}, but no residue is disordered; name some with disordered, or "
                "leave rg out"
            )
        first, chains = 0, self.sequence.split(":")
        for number, chain in enumerate(chains, 1):
            if len(chains) > 1 and set(range(first, first + len(chain))) <= set(self.disordered):
                raise SLMError(
                    f"rg is {self.rg}, but chain {number} of {len(chains)} is disordered as a "
                    "whole, and its place beside the others is unknown; sample it alone"
                )
            first += len(chain)
        rg = in_nanometers("rg", self.rg, "a length")
        check_rg(rg, self.length)
        return rg

    def _checked_deform(self) -> float | str | None:
        """`deform` as in `checked_deform`; None unless a template is used with `noise`."""
        if self.deform is None:
            usual = "conformers" if "relatives" in (self.template or ()) else "near"
            return None if self.noise is None else 0.0 if self.path else NAMED[usual]
        if self.noise is None:
            given = f"deform is {self.deform!r}"
            raise SLMError(f"{given}, but no template is deformed; give template without resample")
        return checked_deform(self.deform)

    @property
    def length(self) -> int:
        """Number of residues."""
        return len(self.sequence.replace(":", ""))

    def with_defaults(self, model: StructureLanguageModel) -> SamplingSettings:
        """Fill in values that were not given: the seed, and defaults that depend on the model.

        A seed is drawn and logged. Temperature and top_p come from the model. The batch size is a
        multiple of the number of frames that the model computes together.
        """
        if self.length > TRAINED_LENGTH:
            logger.warning(
                "the sequence has %d residues; the shipped models were trained on at most %d",
                self.length,
                TRAINED_LENGTH,
            )
        if ":" in self.sequence and self.template is None:
            logger.warning(
                "%d chains without a template: the models predict their relative placement poorly; "
                "give a template to keep it",
                self.sequence.count(":") + 1,
            )
        seed = self.seed
        if seed is None:
            seed = secrets.randbits(32)
            logger.info("seed %d", seed)
        together = model.frames_together(self.length)
        size = max(1, min(128, 16384 // self.length) // together) * together
        return replace(
            self,
            seed=int(seed),
            batch_size=self.batch_size or size,
            temperature=model.temperature if self.temperature is None else self.temperature,
            top_p=model.top_p if self.top_p is None else self.top_p,
        )
