"""The TPU generations: how the compiler is asked for each, and public figures of it.

The clock follows from figures that Google publishes: peak bfloat16 operations a
second over what the matrix units do in a cycle, 2 x units x width**2. It agrees
with the clocks of [Jouppi2021], table 1, and [Jouppi2023], table 4, where these
give one (700, 940, 1050 and 1050 MHz for v2, v3, v4i and v4). Of v6e and tpu7x the number of units
is not what the pages say, or not said: it is the one with which the compiler's own cycles of
a large product are its peak rate (455,676 and 434,504 operations a cycle, of 524,288).

References:
    [Jouppi2021] Jouppi et al. Ten lessons from three generations shaped Google's
    TPUv4i. ISCA 2021.
    [Jouppi2023] Jouppi et al. TPU v4: an optically reconfigurable supercomputer.
    ISCA 2023.
    [CloudTPU] https://cloud.google.com/tpu/docs/system-architecture-tpu-vm, and the
    pages of the single generations: peak rates, cores, bandwidths.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """What one program has to itself.

    Attributes:
        name: As in a table's ``target`` column.
        topology: What ``jax.experimental.topologies`` calls one host of them.
        peak_flops_per_s: bfloat16, of all cores that one program runs on.
        flops_per_cycle: Of their matrix units.
        cores: TensorCores that one program runs on, and the chip has.
    """

    name: str
    topology: str
    peak_flops_per_s: float
    flops_per_cycle: int
    cores: tuple[int, int] = (1, 1)

    @property
    def clock_hz(self) -> float:
        """Cycles a second."""
        return self.peak_flops_per_s / self.flops_per_cycle


def _matrix_units(count: int, width: int) -> int:
    return 2 * count * width * width


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("tpu-v2", "v2:2x2", 23e12, _matrix_units(1, 128), (1, 2)),
        Chip("tpu-v3", "v3:2x2", 61.5e12, _matrix_units(2, 128), (1, 2)),
        Chip("tpu-v4", "v4:2x2x1", 137.5e12, _matrix_units(4, 128), (1, 2)),
        Chip("tpu-v4i", "v4 lite:1x1x1", 138e12, _matrix_units(4, 128)),
        Chip("tpu-v5e", "v5e:1x1", 197e12, _matrix_units(4, 128)),
        Chip("tpu-v5p", "v5p:2x2x1", 459e12, _matrix_units(8, 128), (2, 2)),
        Chip("tpu-v6e", "v6e:1x1", 918e12, _matrix_units(4, 256)),
        Chip("tpu7x", "tpu7x:2x2x1", 1153.5e12, _matrix_units(4, 256), (1, 2)),
    )
}
