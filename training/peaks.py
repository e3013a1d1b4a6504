"""What GPUs can do at most, from their makers' data sheets: the yardstick of model-FLOPs utilisation.

Dense matrix products (no structured sparsity), in 10^12 floating-point operations a second, at the sheet's boost clock
and full power; fp16 and bf16 accumulate in fp32.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Peaks by precision for names that hold all words, the more special name first. `fp32` is without tensor cores,
#: `tf32` with them (`torch.set_float32_matmul_precision`).
_PEAKS: tuple[tuple[tuple[str, ...], Mapping[str, float]], ...] = (
    (("H200",), {"bf16": 989.4, "fp16": 989.4, "tf32": 494.7, "fp32": 66.9}),
    (("H100", "PCIe"), {"bf16": 756.5, "fp16": 756.5, "tf32": 378.0, "fp32": 51.2}),
    (("H100", "NVL"), {"bf16": 835.5, "fp16": 835.5, "tf32": 417.5, "fp32": 60.0}),
    (("H100",), {"bf16": 989.4, "fp16": 989.4, "tf32": 494.7, "fp32": 66.9}),
    (("A100",), {"bf16": 312.0, "fp16": 312.0, "tf32": 156.0, "fp32": 19.5}),
    (("A10",), {"bf16": 125.0, "fp16": 125.0, "tf32": 62.5, "fp32": 31.2}),
    (("L40S",), {"bf16": 362.0, "fp16": 362.0, "tf32": 183.0, "fp32": 91.6}),
    (("L4",), {"bf16": 121.0, "fp16": 121.0, "tf32": 60.0, "fp32": 30.3}),
    (("V100", "PCIE"), {"fp16": 112.0, "fp32": 14.0}),
    (("V100",), {"fp16": 125.0, "fp32": 15.7}),
    (("T4",), {"fp16": 65.0, "fp32": 8.1}),
    (("RTX", "4090"), {"bf16": 165.2, "fp16": 165.2, "tf32": 82.6, "fp32": 82.6}),
    (("RTX", "3090"), {"bf16": 71.0, "fp16": 71.0, "tf32": 35.6, "fp32": 35.6}),
)


def peak_tflops(gpu: str, precision: str) -> float | None:
    """Give the peak of a GPU in 10^12 floating-point operations a second; None where it is not known.

    Args:
        gpu: its name as the driver gives it, such as `NVIDIA H100 80GB HBM3` or `NVIDIA A100-SXM4-80GB`.
        precision: of the matrix products: `bf16`, `fp16`, `tf32` or `fp32`.
    """
    words = set(gpu.casefold().replace("-", " ").split())
    if not words.isdisjoint({"laptop", "max", "mobile"}):  # same name, less power
        return None
    for names, peaks in _PEAKS:
        if all(name.casefold() in words for name in names):
            return peaks.get(precision)
    return None
