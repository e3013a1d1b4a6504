"""`python -m training VERB …`"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from mmsearch import logs

app = typer.Typer(name="python -m training", no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug messages.")] = False,
    local_rank: Annotated[int, typer.Option("--local_rank", "--local-rank", hidden=True)] = 0,
) -> None:
    """Train match models: document towers, and teacher and student query towers together.

    On many GPUs: `torchrun --nproc_per_node 8 -m training fit CONFIG`, or `deepspeed --module training fit CONFIG`.
    """
    del local_rank  # the deepspeed launcher gives it; the environment says the same
    logs.set_up(verbose=debug)


@app.command(
    epilog="Example: python -m training fit configs/train/demo.yaml data.corpus=runs/demo/corpus stages.0.steps=200"
)
def fit(
    config: Annotated[Path, typer.Argument(help="Settings of the run, a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Settings as dotted.key=value.")] = None,
) -> None:
    """Train a model through its stages; a killed run goes on where its last checkpoint stands."""
    from mmsearch.config import load_settings
    from training.config import FitSettings
    from training.fit import fit as run_fit

    logs.resumable()
    run = run_fit(load_settings(FitSettings, config, overrides or []))
    if logs.rank() == 0:
        print(run)


@app.command(
    epilog="Examples: python -m training compare configs/train/photos.yaml --vary distillation=joint,two_stage "
    "--seeds 3 --metric student/cover data.root=photos — "
    "python -m training compare configs/train/fusion_compare.yaml --jobs 2"
)
def compare(
    config: Annotated[Path, typer.Argument(help="Settings of the run, a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Settings of all runs as dotted.key=value.")] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="A setting and its values: KEY=A,B,C. Repeat it for combinations. Default: the file's tables."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Runs of each variant: run.seed and the next. Default: 3, or the file's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs and tables; default: beside run.dir.")] = None,
    metric: Annotated[str, typer.Option(help="With --vary, PNR that is told first: TOWER/SPACE.")] = "student/content",
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = 1,
) -> None:
    """Train variants of a run side by side over several seeds; write means, intervals and paired tests.

    What varies is given by --vary, and validation compares the variants; or it stands in the file's section `compare`,
    and they are compared on grades that no run has seen, with modalities missing, and by what they cost.
    """
    from training.compare import compare as run_compare
    from training.comparison.suite import compare_tables

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the runs would go on without their parent
    if vary:
        comparison = run_compare(
            config, vary, num_seeds=seeds or 3, out=out, metric=metric, overrides=overrides or [], jobs=jobs
        )
        comparison.show()
        comparison.check_complete()
        return
    suite = compare_tables(config, overrides or [], num_seeds=seeds, out=out, jobs=jobs)
    print(suite.markdown)
    print(suite.folder / "comparison.md")
    suite.check_complete()


@app.command(epilog="Example: python -m training export runs/large/model --out runs/large/at-20000 --step 20000")
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run, finished or not.")],
    out: Annotated[Path, typer.Option(help="Model folder to write.")],
    step: Annotated[int | None, typer.Option(help="Which checkpoint; default: the newest.")] = None,
    best: Annotated[bool, typer.Option("--best", help="The best weights of the stage under way instead.")] = False,
) -> None:
    """Make a model folder of a checkpoint: one safetensors file, whatever engine and number of processes wrote it."""
    from training.export import export as run_export

    print(run_export(run, out, step=step, best=best))


@app.command(epilog="Example: python -m training convert pytorch_model.bin chinese-clip/model.safetensors")
def convert(
    pickle: Annotated[Path, typer.Argument(help="Weights as PyTorch pickled them: .bin, .pt, .pth, .ckpt.")],
    out: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
) -> None:
    """Write pickled weights as safetensors, which cannot run code. Only tensors are read (torch's weights_only)."""
    from mmsearch.encoders.weights import convert as run_convert

    print(f"{run_convert(pickle, out)} tensors: {out}")


@app.command(
    epilog="Example: python -m training sft configs/sft/qwen2.5_0.5b.yaml model.source=Qwen2.5-0.5B-Instruct "
    "data.pairs=pairs.jsonl run.dir=runs/sft"
)
def sft(
    config: Annotated[Path, typer.Argument(help="Settings of the run, a YAML file of SftSettings.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Settings as dotted.key=value.")] = None,
) -> None:
    """Fine-tune a language model with LoRA to pick key sentences; write the adapter, and the model merged with it.

    A killed run goes on where its last checkpoint stands. `merged/` is a folder of transformers: extraction loads it
    (`model.type=transformers model.source=RUN/merged`), and so do vLLM and llama.cpp's converter.
    """
    from mmsearch.config import load_settings
    from training.sft.run import sft as run_sft
    from training.sft.settings import SftSettings

    logs.resumable()
    print(run_sft(load_settings(SftSettings, config, overrides or [])))


@app.command(
    epilog="Examples: python -m training sft-pairs videos.jsonl key_sentences.jsonl --out pairs.jsonl — "
    "python -m training sft-pairs videos.jsonl videos.jsonl.grading --out pairs.jsonl"
)
def sft_pairs(
    videos: Annotated[Path, typer.Argument(help="The videos table: titles and transcripts.")],
    chosen: Annotated[
        Path,
        typer.Argument(
            help="What `mmsearch sentences extract` printed, or the folder of a `mmsearch sentences grade`."
        ),
    ],
    out: Annotated[Path, typer.Option(help="JSON Lines to write, for data.pairs of `sft`.")],
    method: Annotated[
        list[str] | None, typer.Option(help="Of what was printed: the method that counts; repeat it. Default: select.")
    ] = None,
    min_grade: Annotated[int, typer.Option(min=0, max=2, help="Of what was graded: the least grade.")] = 2,
) -> None:
    """Make pairs for `sft` of sentences that a large model chose, or of those that people graded well."""
    from training.sft.distil import chosen_by, graded_well, write_pairs

    found = graded_well(chosen, min_grade) if chosen.is_dir() else chosen_by(chosen, method or ["select"])
    print(f"{write_pairs(videos, found, out)} pairs: {out}")


@app.command(
    epilog="Example: python -m training diagnose runs/demo/model --corpus runs/demo/corpus "
    "--judgments runs/demo/world/judgments_test.jsonl"
)
def diagnose(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    corpus: Annotated[Path, typer.Option(help="Folder of a prepared corpus.")],
    judgments: Annotated[Path, typer.Option(help="Table of human grades.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="A YAML file of DiagnoseSettings, then overrides."),
    ] = None,
) -> None:
    """Measure a model without each modality and with each shuffled, and teacher against student, for its report."""
    from mmsearch.config import load_arguments
    from training.diagnose import DiagnoseSettings
    from training.diagnose import diagnose as run_diagnose

    print(run_diagnose(run, corpus, judgments, load_arguments(DiagnoseSettings, settings or [])))


if __name__ == "__main__":
    logs.exit_on_error(app, debug="--debug" in sys.argv)
