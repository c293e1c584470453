"""Encoders that compile in a moment, and a target that counts what it is asked."""

from dataclasses import dataclass, field

import pytest

from autodistill.models.config import BertConfig, EncoderConfig
from autodistill.profiler import Measurement, Workload


@dataclass
class CountingTarget:
    """Says a latency at once, from the shape; fails for one width, stops when told to."""

    name: str = "counting"
    device_kind: str = "abacus"
    statistic: str = "median"
    compiler_version: str = "beads 1.2"
    fails_at: int = 48
    stops_after: int = 1000
    asked: list[EncoderConfig] = field(default_factory=list)

    def measure(self, configs, workload):
        for i, config in enumerate(configs):
            if len(self.asked) >= self.stops_after:
                raise KeyboardInterrupt
            yield i, None
            self.asked.append(config)
            if config.hidden_size == self.fails_at:
                yield i, Measurement(None, error="RESOURCE_EXHAUSTED:\n no memory")
            else:
                latency = config.hidden_size / 100 + config.num_hidden_layers / 7
                yield i, Measurement(latency, 0.25, repeats=20, compile_s=1.5, flops=7.0)


@pytest.fixture
def counting() -> type[CountingTarget]:
    return CountingTarget


@pytest.fixture(scope="session")
def tiny() -> BertConfig:
    return BertConfig(1, 32, 2, 64, vocab_size=50, max_position_embeddings=16)


@pytest.fixture(scope="session")
def impossible() -> BertConfig:
    """Weights of 2,560 TB: more than any process can address."""
    return BertConfig(1, 64, 2, 10**13, vocab_size=50, max_position_embeddings=16)


@pytest.fixture(scope="session")
def short() -> Workload:
    return Workload(batch_size=2, sequence_length=8)
