"""Settings of a sampling run, checked."""

from __future__ import annotations

import logging
import secrets
from dataclasses import asdict, dataclass, fields, replace
from numbers import Real

from ..allatom.completer import check_method
from ..allatom.topology import check_ph
from ..errors import SLMError
from ..language.interface import StructureLanguageModel, check_integer, check_sampling
from ..protein.disulfides import parse_disulfides
from ..protein.sequence import parse_sequence
from ..relaxation.relaxation_settings import RelaxationSettings

logger = logging.getLogger(__name__)

TRAINED_LENGTH = 512  # residues; longer chains get a warning
NOISE, DEFORM = 0.02, 0.1  # share of tokens, nm: of a template for which nothing was said


@dataclass(frozen=True)
class SamplingSettings:
    """What decides an ensemble; each setting is checked when the object is made.

    The names are those of `generate_ensemble`, and of ``run.json``. Of template and condition it
    keeps where they were read and a checksum (their `identity`), and `resample` as rows of the
    sequence.

    Raises
    ------
    ValueError
        Names the setting, its value and what is allowed.
    """

    sequence: str
    n: int
    temperature: float | None = None
    top_p: float | None = None
    steps: int | None = None
    order: str | None = None
    guidance: float = 0.0
    log_prob: str = "path"
    condition: dict | None = None
    template: dict | None = None
    noise: float | None = None
    resample: list | None = None
    rounds: int = 1
    deform: float | None = None
    seed: int | None = None
    batch_size: int | None = None
    project: bool = True
    sidechains: str | None = "packer"
    hydrogens: bool = True
    ph: float = 7.0
    disulfides: str | list | None = "auto"
    relax: bool | dict = False
    drop_invalid: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "sequence", ":".join(parse_sequence(self.sequence)))
        check_integer("n", self.n, 1, "the number of conformations")
        if self.batch_size is not None:
            check_integer("batch_size", self.batch_size, 1, "frames in memory at once (or None)")
        if self.seed is not None:
            check_integer("seed", self.seed, 0, "it repeats a run (or None)")
        check_sampling(self.temperature, self.top_p, self.steps, self.guidance)
        if self.log_prob not in ("path", "bound"):
            raise SLMError(
                f"log_prob is {self.log_prob!r}; give 'path' (of the choices made) or 'bound' (of "
                "the tokens, with its error)"
            )
        self._check_template()
        if self.sidechains is not None:
            check_method(self.sidechains)
        check_ph(self.ph)
        if self.disulfides != "auto":  # as lists, which JSON gives back as they were
            pairs = parse_disulfides(self.disulfides, None, self.sequence.replace(":", ""))
            object.__setattr__(self, "disulfides", [list(pair) for pair in pairs])
        object.__setattr__(self, "relax", self._checked_relax())

    def _check_template(self) -> None:
        given = [name for name in ("noise", "resample") if getattr(self, name) is not None]
        if given and self.template is None:
            raise SLMError(f"{given[0]} says what to change of a template; give template too")
        if len(given) == 2:
            raise SLMError(
                "noise and resample exclude each other: noise changes some of all residues, "
                "resample those it names; give one"
            )
        if self.template is not None and not given:
            object.__setattr__(self, "noise", NOISE)
        number = isinstance(self.noise, Real) and not isinstance(self.noise, bool)
        if self.noise is not None and not (number and 0 < self.noise <= 1):
            raise SLMError(f"noise is {self.noise!r}, a share of the residues: 0 < noise <= 1")
        check_integer("rounds", self.rounds, 1, "how often residues are masked and sampled")
        if self.rounds > 1 and self.noise is None:
            raise SLMError(
                f"rounds is {self.rounds}, which goes with noise; give template and noise"
            )
        object.__setattr__(self, "deform", self._checked_deform())

    def _checked_deform(self) -> float | None:
        """In nm; the default where a template is moved, None elsewhere."""
        value = self.deform
        if value is None:
            return None if self.noise is None else DEFORM
        if self.noise is None:
            raise SLMError(
                f"deform is {value!r}, which moves a template; give template (without resample, "
                "which moves what it names alone)"
            )
        if hasattr(value, "value_in_unit"):
            from openmm import unit

            if not value.unit.is_compatible(unit.nanometer):
                raise SLMError(f"deform is {value}; give a length, 0 to 1 nm")
            value = value.value_in_unit(unit.nanometer)
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not (number and 0 <= value <= 1):
            raise SLMError(f"deform is {self.deform!r}; give 0 to 1 nm (0: as the template is)")
        return float(value)

    def _checked_relax(self) -> bool | dict:
        """`relax` as it goes to ``run.json``: False, or settings of the relaxation."""
        if self.relax is False:
            return False
        if self.relax is not True and not isinstance(self.relax, dict):
            raise SLMError(
                f"relax is {self.relax!r}; give True, False, or a dict of settings of "
                "openmm_slm.relax, as {'solvent': 'obc2'}"
            )
        chosen = {} if self.relax is True else self.relax
        foreign = sorted(chosen.keys() - {field.name for field in fields(RelaxationSettings)})
        if foreign:
            raise SLMError(f"relax has {foreign[0]!r}, which is no setting of a relaxation")
        if self.sidechains is None or not self.hydrogens:
            raise SLMError(
                "relax needs all atoms; leave sidechains and hydrogens at their defaults, or relax "
                "at its own"
            )
        return asdict(RelaxationSettings(**chosen))

    @property
    def length(self) -> int:
        """Residues."""
        return len(self.sequence.replace(":", ""))

    def begun(self, model: StructureLanguageModel) -> SamplingSettings:
        """The same with a seed (drawn and logged if none was given) and what the model decides.

        That is temperature and top_p where none is given, and a batch size, by default a multiple
        of the frames that it computes together.
        """
        if self.length > TRAINED_LENGTH:
            logger.warning(
                "%d residues: the shipped models were trained on chains of at most %d",
                self.length,
                TRAINED_LENGTH,
            )
        if ":" in self.sequence and self.template is None:
            logger.warning(
                "%d chains from sequence alone: how they lie to each other is little learned; with "
                "a template they stay where it has them",
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
