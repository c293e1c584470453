"""Published encoders, by name, as points of reference in a latency table.

Shapes are those of the papers. Weights are not needed: latency follows the shape.

What differs from the published programs: DistilBERT is BERT with six layers, whose
one segment row (shared by all tokens) it lacks; MobileBERT-TINY has no shared
bottleneck for query and key, since its attention reads the narrow states.

References:
    [Devlin2019] BERT. https://arxiv.org/abs/1810.04805, section 3.
    [Sanh2019] DistilBERT. https://arxiv.org/abs/1910.01108, section 3.
    [Jiao2020] TinyBERT. https://arxiv.org/abs/1909.10351, section 4.2 and table 1.
    [Sun2020] MobileBERT. https://arxiv.org/abs/2004.02984, table 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autodistill.models.config import BertConfig, EncoderConfig, MobileBertConfig
from autodistill.profiler.table_fields import BERT_VOCABULARY, family_fields, row_of_config
from autodistill.space import Architecture


@dataclass(frozen=True)
class Baseline:
    """A published encoder.

    Attributes:
        name: As in its paper.
        config: Its shape, with BERT's vocabulary of 30,522.
        published_parameters: As its paper counts them, some with the pooler, which
            an ``Encoder`` does not have.
    """

    name: str
    config: EncoderConfig
    published_parameters: float

    @property
    def family(self) -> str:
        """Its ``model_type``."""
        return self.config.model_type

    def with_vocabulary(self, vocab_size: int) -> EncoderConfig:
        """The same encoder over another vocabulary."""
        return replace(self.config, vocab_size=vocab_size)

    def row(self, fields: Sequence[str], vocab_size: int = BERT_VOCABULARY) -> Architecture:
        """As a row of a table with these fields, over this vocabulary.

        Raises:
            SpaceError: The table cannot say it.
        """
        return row_of_config(self.with_vocabulary(vocab_size), fields)


BASELINES: dict[str, Baseline] = {
    one.name: one
    for one in (
        Baseline("BERT_BASE", BertConfig(12, 768, 12, 3072), 109e6),
        Baseline("DistilBERT", BertConfig(6, 768, 12, 3072), 66e6),
        Baseline("TinyBERT4", BertConfig(4, 312, 12, 1200), 14.5e6),
        Baseline("TinyBERT6", BertConfig(6, 768, 12, 3072), 67e6),
        Baseline("MobileBERT", MobileBertConfig(24, 512, 4, 512), 25.3e6),
        Baseline(
            "MobileBERT-TINY",
            MobileBertConfig(
                24,
                512,
                4,
                512,
                num_feedforward_networks=2,
                use_bottleneck_attention=True,
                key_query_shared_bottleneck=False,
            ),
            15.1e6,
        ),
    )
}


def baselines_for(family: str) -> tuple[tuple[Baseline, ...], tuple[Baseline, ...]]:
    """The baselines that a table of this family can hold, and those it cannot.

    Example:
        >>> held, left_out = baselines_for("bert")
        >>> [one.name for one in left_out]
        ['MobileBERT', 'MobileBERT-TINY']
    """
    fields = set(family_fields(family))
    held = tuple(b for b in BASELINES.values() if set(family_fields(b.family)) <= fields)
    return held, tuple(b for b in BASELINES.values() if b not in held)


def left_out_message(family: str) -> str:
    """One sentence on the baselines that a table of this family cannot hold; may be empty."""
    _, left_out = baselines_for(family)
    if not left_out:
        return ""
    names = ", ".join(one.name for one in left_out)
    return (
        f"left out: {names}, as a table of {family} has no columns for "
        f"{' or '.join(sorted({one.family for one in left_out}))}; use a space of that family"
    )
