"""The command line of ``python -m autodistill.distill`` on a tiny text, for several tests."""

from pathlib import Path

WORDS = ["the", "sea", "is", "cold", "warm", "day", "night", "rain", "on", "hills", "."]
ARCHITECTURE = {
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def options(folder: Path, out: Path, /, **values: object) -> list[str]:
    """Flags by name, underscores for hyphens; the rest is the same for all."""
    common: dict[str, object] = {
        "architecture": folder / "student.json",
        "recipe": "embedding",
        "corpus": folder / "text",
        "cache-dir": folder / "cache",
        "batch-size": 8,
        "sequence-length": 16,
        "fitted-passages": 64,
        "out": out,
    }
    common |= {name.replace("_", "-"): value for name, value in values.items()}
    return [word for name, value in common.items() for word in (f"--{name}", str(value))]
