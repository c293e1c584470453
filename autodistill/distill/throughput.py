"""How fast a run is, and how fast it could be.

Operations are counted from the shapes, two per multiply-add. What a machine can do
is measured: the rate of its own product of two large matrices.
"""

import time

import jax
import jax.numpy as jnp

from autodistill.distill.recipe import Planned
from autodistill.distill.terms import Need
from autodistill.models.config import EncoderConfig
from autodistill.space.cost import encoder_cost
from autodistill.space.families import OPTIONAL_FIELDS, REQUIRED_FIELDS
from autodistill.teacher import Teacher

LONG_ENOUGH_S = 0.02  # of one product, so that its dispatch does not count
LARGEST = 8192


def layer_flops(config: EncoderConfig, length: int) -> float:
    """Operations of one layer on one token, forwards, attention over ``length`` included."""
    family = config.model_type
    fields = (*REQUIRED_FIELDS[family], *OPTIONAL_FIELDS[family])
    architecture = {field: getattr(config, field) for field in fields}
    cost = encoder_cost(architecture, family=family, vocab_size=config.vocab_size)
    attention = 2 * length * config.attention_width
    return 2.0 * (cost.multiply_adds / config.num_hidden_layers + attention)


def head_flops(config: EncoderConfig) -> float:
    """Operations of a masked-LM head on one masked place, forwards."""
    return 2.0 * (config.hidden_size**2 + config.vocab_size * config.hidden_size)


def step_flops(
    planned: Planned,
    teacher: Teacher,
    student: EncoderConfig,
    *,
    batch: int,
    length: int,
    teacher_runs: bool = True,
) -> float:
    """Operations of one step: the teacher forwards, the student forwards and backwards.

    Backwards is twice forwards, through the layers that are trained. The teacher's
    count only where it runs in the step.
    """
    needs = planned.stage.needs
    depth = student.num_hidden_layers if Need.BLOCKS in needs else planned.depth
    passes = depth + 2 * (depth - planned.begin)
    flops = length * passes * layer_flops(student, length)
    if teacher_runs:
        flops += length * planned.teacher_depth * layer_flops(teacher.config, length)
    if Need.HEAD in needs:
        places = -(-15 * length // 100)
        flops += places * (3 * head_flops(student) + teacher_runs * head_flops(teacher.config))
    return batch * flops


def matrix_product_flops_per_s(dtype: str = "float32") -> float:
    """The best rate of products of two square matrices of this dtype on the first device."""
    product = jax.jit(lambda a, b: jnp.matmul(a, b, preferred_element_type=jnp.float32))
    size = 512
    while True:
        matrix = jnp.full((size, size), 0.5, dtype)
        product(matrix, matrix).block_until_ready()
        best = float("inf")
        for _ in range(5):
            began = time.perf_counter()
            product(matrix, matrix).block_until_ready()
            best = min(best, time.perf_counter() - began)
        if best > LONG_ENOUGH_S or size >= LARGEST:
            return 2.0 * size**3 / best
        size *= 2
