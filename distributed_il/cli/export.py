"""`distributed-il export`: a trained model for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distributed_il.cli.options import find_own_code, read_options

if TYPE_CHECKING:
    from distributed_il.inference.export import ExportConfig

ABOUT = (
    "Writes a trained model as a torch.export program, as ONNX (with the extra `export` installed) and as arrays with "
    "a NumPy-only program, each with its vocabularies and checked against the checkpoint."
)


def read(argv: Sequence[str]) -> ExportConfig:
    """What to export, as the arguments describe it.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: A setting is unknown, missing or wrong.
    """
    from distributed_il.inference.export import ExportConfig

    return ExportConfig(**read_options("export", ABOUT, argv, lambda _: {"": ExportConfig}))


def run(argv: Sequence[str]) -> None:
    """Exports, and says how near each file is to the checkpoint.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: See `distributed_il.inference.export.export`.
    """
    from distributed_il.inference.export import export

    config = read(argv)
    find_own_code()
    report = export(config)
    for name, difference in report["largest_difference"].items():
        print(f"{config.output}/{name}: logits of {report['checked_pairs']:,} random pairs within {difference:.1e}")
    if "model.onnx" not in report["largest_difference"]:
        print("model.onnx was left out: it needs `pip install 'distributed-il[export]'`")
