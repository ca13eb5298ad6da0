"""The whole training, one step after another: python tools/train_all.py DATA RUNS --minutes 300.

DATA is a shard directory (`openmm-slm prepare MIRROR --chains default -o DATA`). The steps share
the minutes; each is a call of `openmm-slm` and leaves a directory in RUNS:

    tokenizer    stage 1, then annealed
    tokens       its codes, frozen from here on, and tokens_drawn, a draw from its posterior
    decoder      the decoder made deeper, alone, on the frozen tokens; annealed
    confidence   its predicted lDDT alone; annealed
    lm           stage 2, an encoder-decoder; half of its tokens are the drawn ones
    packer       side chains; annealed
    model        all parts and CARD.md, a table of what each step took and reached

It may be stopped at any time (Ctrl-C, SIGTERM, kill -9); the same command goes on: a step that was
done is not done again, one that was not has the rest of its minutes. To train a step further, give
it `openmm-slm train ... --resume` yourself.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path

from plot_training import judged, read

ROOT = Path(__file__).parent.parent
# Of the minutes, and steps of annealing for each step before it: what the shipped models had.
SHARE = {"tokenizer": 0.35, "decoder": 0.25, "confidence": 0.02, "lm": 0.2, "packer": 0.18}
ANNEAL = {"tokenizer": 0.12, "decoder": 0.25, "confidence": 1.0, "lm": 0.0, "packer": 1.0}
CONFIGS = {
    "cpu": {"tokenizer": "tokenizer", "decoder": "decoder_deep", "lm": "lm_t5"},
    "gpu": {"tokenizer": "tokenizer_gpu", "decoder": "decoder_gpu", "lm": "lm_gpu"},
}


class Training:
    """Steps in the folder `runs`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.data, self.runs = options.data, options.runs
        self.minutes, self.folder = options.minutes, options.configs
        self.names = CONFIGS[options.size]
        self.machine = ["--device", options.device]
        self.machine += ["--threads", str(options.threads)] if options.threads else []
        self.runs.mkdir(parents=True, exist_ok=True)

    def config(self, step: str) -> Path:
        return self.folder / f"{self.names.get(step, step)}.json"

    def train(self, step: str, kind: str, *options: str | Path, config: Path | None = None) -> Path:
        """A trained model of this step: of an earlier call, or of this one."""
        run, anneal = self.runs / step, ANNEAL[step]
        command = ["train", kind, config or self.config(step), "--data", self.data, "-o", run,
                   "--resume", *options, *self.machine]  # fmt: skip
        if not (run / "model").exists():
            limit = SHARE[step] * self.minutes / (1 + anneal)
            log = read(run / "log.csv")
            left = limit - (log[-1]["seconds"] / 60 if log else 0)
            call(*command, "--time-limit", f"{max(left, 0.01):.3f}")
            expect(run / "model")
        if not anneal:
            return run / "model"
        if not (run / "decayed").exists():
            log = read(run / "log.csv")
            steps = round(anneal * log[-1]["step"]) if log else 0
            call(*command, "--decay", max(1, steps))
            expect(run / "decayed")
        return run / "decayed"

    def tokenize(self, name: str, model: Path, *options: str) -> Path:
        tokens = self.runs / name
        if not tokens.exists():
            call("tokenize", "--data", self.data, "--model", model, "-o", tokens, *options,
                 *self.machine)  # fmt: skip
            expect(tokens)
        return tokens

    def everything(self) -> Path:
        first = self.train("tokenizer", "tokenizer")
        tokens = self.tokenize("tokens", first)
        drawn = self.tokenize("tokens_drawn", first, "--sample", "1")
        frozen = ("--tokens", tokens)
        decoder = self.train("decoder", "tokenizer", *frozen, "--init-from", first)
        tokenizer = self.train("confidence", "tokenizer", *frozen, "--init-from", decoder)
        config = json.loads(self.config("lm").read_text())
        config["data"] = {**config.get("data", {}), "posterior": [str(drawn)]}
        (self.runs / "lm.json").write_text(json.dumps(config, indent=1))
        lm = self.train("lm", "lm", *frozen, config=self.runs / "lm.json")
        packer = self.train("packer", "packer")
        model = self.runs / "model"
        card = self.runs / "CARD.md"
        card.write_text(
            f"# A model trained with tools/train_all.py\n\n```text\n{self.table()}```\n"
        )
        if not model.exists():
            call("models", "assemble", "--tokenizer", tokenizer, "--language-model", lm,
                 "--packer", packer, "--card", card, "-o", model)  # fmt: skip
            expect(model)
        return model

    def table(self) -> str:
        """Time, steps and the figures on validation chains of each step, annealing included."""
        lines = [f"{'step':<11} {'minutes':>8} {'steps':>8} {'residues, M':>12}  validation"]
        for step in SHARE:
            log = read(self.runs / step / "decay_log.csv") or read(self.runs / step / "log.csv")
            rows = read(self.runs / step / "decay_validation.csv")
            rows = rows or read(self.runs / step / "validation.csv")
            if not log:  # less than a row of it
                continue
            found = judged(rows[-1]) if rows else {}
            shown = ", ".join(f"{label} {rows[-1][name]:.4g}" for name, label in found.items())
            last = log[-1]
            lines.append(f"{step:<11} {last['seconds'] / 60:>8.1f} {last['step']:>8.0f} "
                         f"{last['residues'] / 1e6:>12.2f}  {shown}")  # fmt: skip
        return "\n".join(lines) + "\n"


def call(*arguments: object) -> None:
    """Run `openmm-slm`; what stops this program stops it too, in its own time."""
    print("openmm-slm", *arguments, flush=True)
    stopped = []
    command = [sys.executable, "-m", "openmm_slm", *map(str, arguments)]
    child = subprocess.Popen(command, start_new_session=True)  # Ctrl-C comes through here alone

    def forward(number: int, _: object) -> None:
        stopped.append(number)
        child.send_signal(signal.SIGTERM)

    before = {each: signal.signal(each, forward) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = child.wait()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if stopped:
        sys.exit("stopped; the same command goes on")
    if code:
        sys.exit(f"that ended with code {code}; the same command goes on once it is mended")


def expect(path: Path) -> None:
    if not path.exists():
        sys.exit(f"stopped before {path} was written; the same command goes on")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="shard directory")
    parser.add_argument("runs", type=Path, help="folder for all that is made")
    parser.add_argument("--minutes", type=float, required=True, help="of training, in all")
    parser.add_argument("--size", choices=CONFIGS, default="cpu")
    parser.add_argument("--configs", type=Path, default=ROOT / "configs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    training = Training(parser.parse_args())
    model = training.everything()
    print(training.table(), end="")
    print(f"model: {model}")


if __name__ == "__main__":
    main()
