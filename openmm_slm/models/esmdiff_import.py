"""Convert a published ESMDiff checkpoint (Lu et al., 2025; lujiarui/esmdiff).

Its trainer (Lightning with DeepSpeed) writes::

    RUN/.hydra/config.yaml                                    the config of the run
    RUN/checkpoints/NAME.ckpt/checkpoint/mp_rank_00_model_states.pt
                                                              a pickle; weights under "module"

or, without DeepSpeed, one file ``NAME.ckpt`` with the weights under "state_dict". `NAMES` maps the
weight names of the Lightning module to those of `ESMDiffNetwork`. The pickle is read without
executing code in it (`torch_files`). `STAND_INS` are the other types that such a file may contain;
they are replaced by empty stand-ins.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError, require
from ..networks.storage import LARGE_SHARD_BYTES, save_network
from .fitting import check_weights
from .torch_files import read_torch_file

if TYPE_CHECKING:
    import torch

    from ..language.esm3_network import ESMDiffConfig, ESMDiffNetwork

STATES = Path("checkpoint", "mp_rank_00_model_states.pt")
CONFIG = Path(".hydra", "config.yaml")
#: Name prefixes added by wrappers, in the order they are removed.
WRAPPERS = ("_forward_module.", "module.", "_orig_mod.")
#: Name prefixes in the checkpoint -> in `ESMDiffNetwork`; None: not needed.
NAMES = {
    "net.encoder.": "encoder.",
    "net.transformer.": "transformer.",
    "net.output_heads.structure_head.": "structure_head.",
    "net.output_heads.sequence_head.": None,  # for an auxiliary loss
    "sigma_embedder.": "sigma_embedder.",
    "noise.": None,
    "train_loss.": None,
    "val_loss.": None,
    "val_loss_best.": None,
}
#: Types that Lightning, DeepSpeed and Hydra store with the weights.
STAND_INS = (
    "argparse.Namespace",
    "builtins.dict",
    "builtins.float",
    "builtins.int",
    "builtins.list",
    "builtins.str",
    "collections.defaultdict",
    "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler",
    "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.zero.config.ZeroStageEnum",
    "functools.partial",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.nodes.AnyNode",
    "pathlib.PosixPath",
    "torch.optim.adamw.AdamW",
    "typing.Any",
)
#: Settings that `ESMDiffNetwork` implements; a checkpoint must have the same.
SETTINGS = {
    "time_conditioning": True,
    "change_of_variables": False,
    "importance_sampling": False,
    "structure_only": False,
    "coupled_condition_mask": False,
    "T": 0,
}
_NETWORK, _SCHEDULE = "CustomizedESM3", "LogLinearNoise"

logger = logging.getLogger(__name__)


def import_esmdiff(
    checkpoint: str | os.PathLike,
    output: str | os.PathLike,
    config: str | os.PathLike | None = None,
    ignore: Sequence[str] = (),
) -> Path:
    """Convert a published checkpoint to a model directory, in half precision.

    Parameters
    ----------
    checkpoint : path
        The folder ``NAME.ckpt``, or a file (see the module docstring).
    output : path
        Model directory to write; must not exist.
    config : path, optional
        Config of the run. Default: ``.hydra/config.yaml`` of the run that contains the checkpoint,
        or the published settings if it has none.
    ignore : sequence of str
        Full names of further types to replace by stand-ins.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    ModelError
        The checkpoint cannot be read, contains a type that is not listed (its code is not
        executed), or has weights or settings that do not match the network.
    """
    from ..language.esm3_network import ESMDiffNetwork
    from ..tokenizer.esm3 import ESM3TokenizerNetwork

    file, output = find_states(checkpoint), Path(output)
    if output.exists():
        raise ModelError(f"{output} exists; give a new folder")
    sizes = read_settings(file, config)
    torch = require("torch")
    with torch.device("meta"):
        network = ESMDiffNetwork(sizes)
    state = fitting_state(read_states(file, ignore), network, file)
    single = any(x.dtype == torch.float32 and x.numel() > 4096 for x in state.values())
    temporary = output.with_name(f"{output.name}.{os.getpid()}.tmp")
    try:
        save_network(
            temporary,
            network.kind,
            asdict(sizes),
            state,
            half=single,  # bfloat16 is kept
            shard_bytes=LARGE_SHARD_BYTES,
            tokenizer=ESM3TokenizerNetwork.kind,
        )
        (temporary / "README.md").write_text(_CARD.format(Path(checkpoint).name), encoding="utf-8")
        temporary.replace(output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return output


def find_states(checkpoint: str | os.PathLike) -> Path:
    """Find the file of a checkpoint that contains the weights."""
    path = Path(checkpoint)
    for file in (path, path / STATES, path / STATES.name):
        if file.is_file():
            return file
    raise ModelError(f"{path}: neither a file nor a folder with {STATES}; give NAME.ckpt")


def read_settings(file: Path, config: str | os.PathLike | None = None) -> ESMDiffConfig:
    """Read the sizes of the network from the config of the run.

    Raises
    ------
    ModelError
        The config cannot be read, or describes another model.
    """
    from ..language.esm3_network import ESMDiffConfig

    if config is None:
        found = (parent / CONFIG for parent in list(file.absolute().parents)[:5])
        config = next(filter(Path.is_file, found), None)
    if config is None:
        logger.warning("%s: its run has no %s; the published settings are assumed", file, CONFIG)
        return ESMDiffConfig()
    yaml = require("yaml", "esm3")
    try:
        model = yaml.safe_load(Path(config).read_text(encoding="utf-8"))["model"]
        net, schedule, embedder = (
            model.get(name) or {} for name in ("net", "noise_schedule", "sigma_embedder")
        )
        kinds = [str(part.get("_target_", "")).split(".")[-1] for part in (net, schedule)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError) as e:
        reason = str(e).splitlines()[0]
        raise ModelError(f"{config}: not the config of an ESMDiff run ({reason})") from None
    given = {"model.net": kinds[0], "model.noise_schedule": kinds[1]}
    given |= {f"model.{name}": model.get(name, value) for name, value in SETTINGS.items()}
    given["model.net.n_structure_heads"] = net.get("n_structure_heads", 4096)
    required = {"model.net": _NETWORK, "model.noise_schedule": _SCHEDULE}
    required |= {f"model.{name}": value for name, value in SETTINGS.items()}
    required["model.net.n_structure_heads"] = 4101
    for name, value in required.items():
        if given[name] != value:
            raise ModelError(
                f"{config}: {name} is {given[name]!r}, but ESMDiff has {value!r}; "
                "give a checkpoint of ESMDiff"
            )
    sizes = {name: net.get(name) for name in ("d_model", "n_heads", "v_heads", "n_layers")}
    sizes |= {"eps": schedule.get("eps"), "frequencies": embedder.get("frequency_embedding_size")}
    default = ESMDiffConfig()
    try:
        made = {k: type(getattr(default, k))(v) for k, v in sizes.items() if v is not None}
    except (TypeError, ValueError) as error:
        raise ModelError(f"{config}: some sizes are not numbers ({error})") from None
    return ESMDiffConfig(**made)


def read_states(file: Path, ignore: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """Read the weights of a checkpoint; `WRAPPERS` are removed from their names."""
    torch = require("torch")
    try:
        whole = read_torch_file(file, (*STAND_INS, *ignore))
    except ModelError as error:
        if "neither a tensor" not in str(error):
            raise
        raise ModelError(
            f"{error}. If you are sure that it is not a weight, skip it with --ignore NAME"
        ) from None
    found = whole if isinstance(whole, dict) else {}
    state = found.get("module") or found.get("state_dict")
    if not isinstance(state, dict) or not all(torch.is_tensor(x) for x in state.values()):
        names = sorted(map(str, found))[:8]
        raise ModelError(f"{file}: no tensors under 'module' or 'state_dict' (it has {names})")
    out = {}
    for name, value in state.items():
        for wrapper in WRAPPERS:
            name = name.removeprefix(wrapper).replace(f"net.{wrapper}", "net.")
        out[name] = value
    return out


def fitting_state(
    found: dict[str, torch.Tensor], network: ESMDiffNetwork, file: Path
) -> dict[str, torch.Tensor]:
    """Rename the weights of a checkpoint (`NAMES`) and compare them with the network.

    Raises
    ------
    ModelError
        See `check_weights`.
    """
    state, unknown = {}, []
    for name, value in found.items():
        start = next((start for start in NAMES if name.startswith(start)), None)
        if start is None:
            unknown.append(name)
        elif NAMES[start] is not None:
            state[NAMES[start] + name.removeprefix(start)] = value
    check_weights(state, network, file, unknown)
    return state


_CARD = """# ESMDiff

Converted from the checkpoint {} in the layout of lujiarui/esmdiff (Lu et al., "Structure Language
Models for Protein Conformation Generation", ICLR 2025): ESM3 fine-tuned as a masked diffusion of
structure tokens. The weights derive from ESM3's and have its licence, not that of this package.
"""
