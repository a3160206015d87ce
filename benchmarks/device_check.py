"""One run on a GPU: whether training is right there, how fast beside the public code, and where time goes.

It takes two to four minutes and no network. Each section stands alone: one that fails, or for which no time
is left, says so and the others go on; the report is written anew after each.
With --device cpu it is rehearsed in miniature, without what needs a GPU.
"""

import json
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks import train_step
from benchmarks.train_step import CASES, Case
from model.device import use_precision
from model.network import blocks, recurrence
from model.network.products import draw_dropout
from model.settings import SIZES, Precision
from model.training import OutOfMemory, Training

Found = dict[str, Any]
DRY = dict.fromkeys([f"p_{p}_dropout" for p in ("encoder", "prenet", "attention", "decoder", "postnet")], 0.0)
NEEDS_GPU = "needs a GPU"
MANY_STEPS = 400
FEW_BYTES = 4_000_000_000  # with which memory runs out


class Check:
    def __init__(self, device: str) -> None:
        self.device, self.gpu = device, torch.device(device).type == "cuda"
        self.precisions: tuple[Precision, ...] = ("fp32", "tf32", "bf16") if self.gpu else ("fp32",)

    def case(self, batch: int, r: int = 1) -> Case:
        """The full-size network on clips as long as LJSpeech's longest; in a rehearsal a tiny one."""
        return Case("full", batch, 120, 800, r) if self.gpu else Case("tiny", 2, 12, 40, r)

    def training(self, case: Case, precision: Precision = "tf32", **settings: float) -> Training:
        return train_step.training(case, self.device, precision, **settings)

    def seconds(self, run: Callable[[], object], times: int = 3) -> float:
        run()
        found = []
        for _ in range(times):
            self.wait()
            begun = time.perf_counter()
            run()
            self.wait()
            found.append(time.perf_counter() - begun)
        return median(found)

    def wait(self) -> None:
        if self.gpu:
            torch.cuda.synchronize()

    def facts(self) -> Found:
        found: Found = {"torch": torch.__version__, "triton": blocks.HAS_TRITON}
        if self.gpu:
            gpu = torch.cuda.get_device_properties(self.device)
            found |= {"gpu": gpu.name, "multiprocessors": gpu.multi_processor_count}
            found |= {"memory_gb": gpu.total_memory / 1e9, "cuda": torch.version.cuda}
            found |= {"cudnn": torch.backends.cudnn.version()}  # type: ignore[no-untyped-call]
        return found

    def right(self) -> Found:
        """A step without dropout on CPU and device: relative errors of the loss and of the gradients."""
        found = {}
        cases = {"tiny": Case("tiny", 4, 9, 24), "full": Case("full", 4 if self.gpu else 2, 24, 40)}
        for name, case in cases.items():
            for precision in self.precisions:
                cpu = train_step.training(case, "cpu", "fp32", **DRY)
                here = self.training(case, precision, **DRY)  # the later one's precision is the GPU's
                losses = [t._gradients(t._items())[0].total(t.settings) for t in (here, cpu)]
                found[f"{name} {precision}"] = {"loss": relative(*losses)} | gradient_errors(here, cpu)
        return found

    def speed(self) -> Found:
        """A whole step, ours and the peer's, in one process; mel frames a second."""
        found = {}
        for batch, r in ((32, 1), (64, 1), (64, 2), (128, 1)) if self.gpu else ((2, 1),):
            case = self.case(batch, r)
            for precision in self.precisions:
                found[f"ours, {precision}, {case}"] = self._speed(
                    case, self.training(case, precision).advance
                )
            if (batch, r) == (64, 1) or not self.gpu:
                use_precision("tf32")
                found[f"peer, tf32, {case}"] = self._speed(case, train_step.theirs(case, self.device))
        return found

    def _speed(self, case: Case, run: Callable[[], object]) -> Found:
        if self.gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        taken = self.seconds(run)
        peak = torch.cuda.max_memory_allocated() / 1e9 if self.gpu else None
        return {"s": taken, "frames a second": case.batch * case.frames / taken, "peak_gb": peak}

    def small(self) -> Found:
        """A step as the quickstart trains it, in seconds, here and on two cores of this machine's CPU."""
        found, threads = {}, torch.get_num_threads()
        torch.set_num_threads(2)
        for device in {self.device, "cpu"}:
            step = train_step.training(CASES["quickstart"], device).advance
            found[device] = self.seconds(step, 20 if self.gpu else 1)
        torch.set_num_threads(threads)
        return found

    def recurrences(self) -> Found | str:
        """Both recurrences alone: the kernels against recurrence.py on the same device, and their time."""
        if not self.gpu:
            return NEEDS_GPU
        found = {}
        for batch in (32, 64, 128):
            for precision in self.precisions[:2]:  # which are all that there are within the recurrences
                use_precision(precision)
                few, many = self._recurrences(batch, 40), self._recurrences(batch, MANY_STEPS)
                made, again, expected = few(blocks), few(blocks), few(recurrence)
                found[f"batch {batch}, {precision}"] = {
                    "largest error": max(map(relative, made, expected)),
                    "repeats": all(map(torch.equal, made, again)),
                    "us a decoder step": self.seconds(lambda: many(blocks)) / MANY_STEPS * 1e6,  # noqa: B023
                }
        return found

    def _recurrences(self, batch: int, steps: int) -> Callable[[Any], list[Tensor]]:
        """What computes all outputs and gradients by one of the two modules, at full size."""
        d, symbols = SIZES["full"], 120
        h, e, a = d.attention_rnn_dim, d.encoder_embedding_dim, d.attention_dim
        torch.manual_seed(0)

        def new(*shape: int) -> Tensor:
            return (torch.randn(*shape, device=self.device) * 0.05).requires_grad_()

        recurrent = new(4 * h, d.prenet_dim), new(4 * h), new(4 * h, h + e)
        text = new(a, h), new(batch, symbols, a), new(batch, symbols, e)
        location = new(a, 2, d.attention_location_kernel_size), new(a)
        lstm = new(4 * h, h + e), new(4 * h), new(4 * h, h)
        leaves = [new(steps, batch, d.prenet_dim), *recurrent, *text, *location, *lstm]
        padding = torch.zeros(batch, symbols, dtype=torch.bool, device=self.device)
        padding[1:, symbols - 9 :] = True
        masks = [draw_dropout((steps, batch, h), 0.1, torch.device(self.device)) for _ in range(2)]
        outer = [torch.randn(steps, batch, n, device=self.device) for n in (h + e, symbols)]

        def run(module: Any) -> list[Tensor]:
            states, alphas = module.AttentionRecurrence.apply(*leaves[:9], padding, masks[0])
            out = module.RecurrentLSTM.apply(states, *lstm, e, masks[1])
            return [out, alphas, *torch.autograd.grad([out, alphas], leaves, outer)]

        return run

    def repeats(self) -> Found:
        """Whether a training gives the same bits again, and from a checkpoint on."""
        case = self.case(8)
        runs = [self.training(case) for _ in range(3)]
        for run in runs[:2]:
            for _ in range(4):
                run.advance()
        whole, again, half = runs
        half.advance()
        half.advance()
        resumed = self.training(case)
        with tempfile.TemporaryDirectory() as folder:
            half.save(Path(folder))
            resumed.restore(Path(folder))
        resumed.advance()
        resumed.advance()
        return {"again": same(whole, again), "resumed": same(whole, resumed)}

    def profiled(self) -> Found:
        """Calls and kernels of one step, and what takes most."""
        run = self.training(self.case(64))
        run.advance()
        run.advance()
        kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if self.gpu else [])
        begun = time.perf_counter()
        with profile(activities=kinds) as seen:
            run.advance()
            self.wait()
        events = seen.key_averages()
        on_gpu = sorted(
            (e for e in events if e.self_device_time_total), key=lambda e: -e.self_device_time_total
        )
        return {
            "wall_s": time.perf_counter() - begun,
            "calls": {e.key: e.count for e in events if e.key.startswith("cu")},
            "gpu_s": sum(e.self_device_time_total for e in on_gpu) / 1e6,
            "most": [(e.key[:70], e.count, e.self_device_time_total / 1e3) for e in on_gpu[:30]],
        }

    def speaks(self) -> Found:
        """Free running up to the limit: what a measure of the voice takes."""
        found = {}
        for batch in (1, 32) if self.gpu else (1,):
            run = self.training(self.case(batch))
            with torch.no_grad():
                run.model.get_parameter("decoder.gate_layer.linear_layer.bias").fill_(-20.0)
            texts = [item.symbols[:20].tolist() for item in run.corpus.training]
            speak, seeds = run.voice().read, list(range(len(texts)))
            taken, spoken = self.seconds(lambda: speak(texts, seeds), 1), speak(texts, seeds)  # noqa: B023
            frames = max(len(speech.mel) for speech in spoken)
            found[f"{batch} texts"] = {"s": taken, "frames": frames, "ms a frame": taken / frames * 1e3}
        return found

    def memory_runs_out(self) -> Found | str:
        """Whether a step that does not fit is told as OutOfMemory, and a smaller one then passes."""
        if not self.gpu:
            return NEEDS_GPU
        torch.cuda.empty_cache()
        share = FEW_BYTES / torch.cuda.get_device_properties(self.device).total_memory
        torch.cuda.set_per_process_memory_fraction(share)
        try:
            run = self.training(Case("full", 64, 120, 800))
            try:
                run.advance()
                return "it fitted"
            except OutOfMemory as error:
                said = str(error)[:100]
            run.settings = replace(run.settings, micro_batches=16)
            return {"said": said, "loss in 16 parts": run.advance().loss}
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)


SECTIONS = (
    *(Check.facts, Check.right, Check.speed, Check.small, Check.recurrences),
    *(Check.repeats, Check.profiled, Check.speaks, Check.memory_runs_out),
)


def relative(a: Tensor, b: Tensor) -> float:
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    return float((a - b).norm() / b.norm().clamp(min=1e-30))


def gradient_errors(here: Training, cpu: Training) -> Found:
    """Each parameter's, and that of all gradients as one vector. The biases before batch normalisation have
    no true gradient."""
    pairs = {
        name: (p.grad, q.grad)
        for (name, p), q in zip(here.model.named_parameters(), cpu.model.parameters(), strict=True)
        if p.grad is not None and q.grad is not None and not name.endswith("conv.bias")
    }
    errors = {name: relative(a, b) for name, (a, b) in pairs.items()}
    worst = max(errors, key=lambda name: errors[name])
    together = relative(
        *(torch.cat([g.detach().cpu().flatten() for g in side]) for side in zip(*pairs.values(), strict=True))
    )
    found: Found = {"gradients together": together, "median": median(errors.values())}
    return found | {"worst": errors[worst], "worst of": worst}


def same(a: Training, b: Training) -> bool:
    return all(map(torch.equal, a.model.parameters(), b.model.parameters()))


@click.command(help=__doc__)
@click.option("--device", default="cuda", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/gpu"), show_default=True)
@click.option("--seconds", default=200.0, show_default=True, help="No section begins later.")
@click.option("--only", multiple=True, type=click.Choice([section.__name__ for section in SECTIONS]))
def main(device: str, out: Path, seconds: float, only: tuple[str, ...]) -> None:
    check, begun = Check(device), time.monotonic()
    report: Found = {}
    out.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name(device).replace(" ", "-") if check.gpu else device
    for section in SECTIONS:
        if only and section.__name__ not in only:
            continue
        if time.monotonic() - begun > seconds:
            report[section.__name__] = "no time left"
            continue
        try:
            report[section.__name__] = section(check)
        except Exception as error:  # the other sections are worth their time
            traceback.print_exc()
            report[section.__name__] = f"{type(error).__name__}: {error}"[:500]
        click.echo(f"{section.__name__}: {json.dumps(report[section.__name__])}")
        (out / f"REPORT-{name}.json").write_text(json.dumps(report, indent=1), "utf-8")


if __name__ == "__main__":
    main()
