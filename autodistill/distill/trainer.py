"""One trainer for everything that is trained at length: students and teachers.

A run is a list of phases, each a loss, the parameters that it trains and a number
of steps. All state is in the parameters, the optimiser's state and the number of
steps done, and a batch is a function of its step; so a run that is killed goes on
from its last checkpoint and ends as it would have.

A step is one compiled program over all devices, its buffers donated, compiled once
per phase. The batch is split over the devices; each device's part may be cut into
micro-batches, whose gradients are added up. Losses are sums over positions divided
by the number of positions in the whole batch, so neither split changes them.

Axes: B = batch; A = micro-batches; D = devices.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from autodistill.distill.checkpoints import Checkpoints
from autodistill.distill.divergence import check_losses, check_weights
from autodistill.distill.memory import fits, is_out_of_memory
from autodistill.distill.one_checkpoint import Place
from autodistill.distill.optimiser import make_optimiser
from autodistill.distill.phase import Phase
from autodistill.distill.train_step import (
    Batch,
    Params,
    Rest,
    State,
    loss_names,
    make_step,
)
from autodistill.errors import ArgumentError, TrainingError

OnRecord = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrainSettings:
    """What does not depend on the loss.

    Attributes:
        batch_size: Passages per step, over all devices.
        accumulate: Micro-batches that a batch is cut into.
        weight_decay: Of AdamW, on matrices.
        log_every: Steps to one record of losses, their means.
        checkpoint_every: Steps between checkpoints.
    """

    batch_size: int = 32
    accumulate: int = 1
    weight_decay: float = 0.01
    log_every: int = 20
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulate", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                flag = "--" + name.replace("_", "-")
                raise ArgumentError(f"{flag} must be at least 1; got {getattr(self, name)}")


@dataclass(frozen=True)
class Trained:
    """What a run ends with.

    Attributes:
        params: All parameters, trained or not.
        records: Means of the losses, in order.
        seconds: Spent in steps, over all sittings.
        compile_s: Spent in compiling, in this one.
        accumulate: Micro-batches at the end.
    """

    params: Params
    records: list[dict[str, Any]]
    seconds: float
    compile_s: float
    accumulate: int


class Trainer:
    """Runs phases over batches, with its state in one folder.

    Args:
        phases: In order.
        weights: Of a batch: for each kind of position, 1 where it counts and 0
            where it is padding, as an array whose first axis is the batch.
        batch_at: The batch of a step; arrays whose first axis is the batch.
        settings: Batch size and intervals.
        checkpoints: Of this run.
        devices: All that jax sees, if not given.

    Raises:
        ArgumentError: The batch cannot be split evenly.
    """

    def __init__(
        self,
        phases: list[Phase],
        *,
        weights: Callable[[Batch], dict[str, jax.Array]],
        batch_at: Callable[[int], dict[str, np.ndarray]],
        settings: TrainSettings,
        checkpoints: Checkpoints,
        devices: list[jax.Device] | None = None,
    ) -> None:
        self.phases, self.weights, self.batch_at = phases, weights, batch_at
        self.settings, self.checkpoints = settings, checkpoints
        devices = devices or jax.devices()
        check_split(settings, len(devices))
        mesh = Mesh(np.array(devices), ("data",))
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._split = NamedSharding(mesh, PartitionSpec("data"))
        self._micro = NamedSharding(mesh, PartitionSpec(None, "data"))
        self._compile_s = 0.0

    def run(
        self, params: Mapping[str, Any], constants: Any, on_record: OnRecord = lambda _: None
    ) -> Trained:
        """Train from ``params``, or from the last checkpoint where there is one.

        Where memory does not suffice, the batch is cut into more micro-batches and
        the run goes on from its last checkpoint.

        Args:
            params: All parameters by name.
            constants: What the losses read beside them: any arrays.
            on_record: Told of every record; it may raise to stop the run.

        Raises:
            TrainingError: A loss or weight is not finite, a loss has grown beyond
                reason, or memory does not suffice for one passage per device.
        """
        with fits("weights are put on the devices", "use a smaller teacher or larger devices"):
            constants = jax.device_put(constants, self._replicated)
        accumulate = self.settings.accumulate
        while True:
            try:
                return self._run(params, constants, accumulate, on_record)
            except (jax.errors.JaxRuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                last = self.checkpoints.last()
                accumulate = self._cut(max(accumulate, last.place.accumulate if last else 1), error)

    def _cut(self, accumulate: int, error: BaseException) -> int:
        """The next number of micro-batches that splits the batch evenly."""
        rows = self.settings.batch_size // self._replicated.mesh.size
        for more in range(accumulate + 1, rows + 1):
            if rows % more == 0:
                return more
        raise TrainingError(
            "out of memory with one passage per device at a time; use a shorter "
            "--sequence-length or a smaller student"
        ) from error

    def _run(
        self,
        initial: Mapping[str, Any],
        constants: Any,
        accumulate: int,
        on_record: OnRecord,
    ) -> Trained:
        place, params, rest = self._begun(initial, accumulate)
        records = self.checkpoints.losses(place)
        begin = 0
        for phase in self.phases:
            if place.step < begin + phase.steps:
                params, place = self._run_phase(
                    phase, begin, params, constants, place, rest, records, on_record
                )
            begin += phase.steps
        return Trained(params, records, place.seconds, self._compile_s, place.accumulate)

    def _begun(
        self, initial: Mapping[str, Any], accumulate: int
    ) -> tuple[Place, Params, list[np.ndarray]]:
        """Where the run stands, and leaves of what else the phase needs that it is in."""
        last = self.checkpoints.last()
        place = last.place if last else Place(0, accumulate, 0.0)
        # Copies, as buffers are given away.
        copies = {
            name: jnp.array(value) for name, value in (last.params if last else initial).items()
        }
        params: Params = jax.device_put(copies, self._replicated)
        place = replace(place, accumulate=max(place.accumulate, accumulate))
        return place, params, last.optimiser if last else []

    def _run_phase(
        self,
        phase: Phase,
        begin: int,
        params: Params,
        constants: Any,
        place: Place,
        rest: list[np.ndarray],
        records: list[dict[str, Any]],
        on_record: OnRecord,
    ) -> tuple[Params, Place]:
        """Parameters and place after what is left of a phase, which began after ``begin``.

        ``rest`` holds leaves of its state at ``place``, if the phase is begun; it is emptied.
        """
        settings, end, done = self.settings, begin + phase.steps, place.step
        frozen = {name: value for name, value in params.items() if not phase.trains(name)}
        trained = {name: value for name, value in params.items() if phase.trains(name)}
        step, state = self._prepared(phase, begin, trained, frozen, constants, place.accumulate)
        if done > begin:
            leaves = [jnp.array(leaf) for leaf in rest]  # copies, as buffers are given away
            found = jax.tree.unflatten(jax.tree.structure(state.rest), leaves)
            state = state._replace(rest=jax.device_put(found, self._replicated))
        rest.clear()  # the memory is needed
        logged = max(begin, place.logged)
        began = time.perf_counter()
        for batch in self._batches(done, end):
            state = step(state, frozen, constants, batch)
            done += 1
            logs = done % settings.log_every == 0 or done == end
            if logs:
                record = _record(phase, state.rest, steps=done - logged)
                check_losses(phase, state, record, [r for r in records if r["step"] > begin])
                records.append(record)
                self.checkpoints.add_loss(record)
                zeros = jax.tree.map(np.zeros_like, jax.device_get(state.rest.sums))
                sums = jax.device_put(zeros, self._replicated)
                state = state._replace(rest=state.rest._replace(sums=sums))
                logged = done
            if done % settings.checkpoint_every == 0 or done == end:
                jax.block_until_ready(state)
                seconds = place.seconds + time.perf_counter() - began
                place = Place(done, place.accumulate, seconds, logged)
                check_weights(phase, state, done)
                self.checkpoints.save(place, frozen | state.params, state.rest)
                began = time.perf_counter()
            if logs:
                on_record(record)
        return frozen | state.params, place

    def _prepared(
        self,
        phase: Phase,
        begin: int,
        trained: Params,
        frozen: Params,
        constants: Any,
        accumulate: int,
    ) -> tuple[Callable[..., State], State]:
        """The compiled step of a phase, and the state that the phase begins with."""
        if not trained:
            raise ValueError(f"the phase {phase.name} trains no parameter")
        began = time.perf_counter()
        optimiser = make_optimiser(
            steps=phase.steps,
            learning_rate=phase.learning_rate,
            weight_decay=self.settings.weight_decay,
        )
        batch = self._placed(self.batch_at(begin))
        zeros = dict.fromkeys(
            loss_names(phase.loss, frozen | trained, constants, batch), jnp.float32(0)
        )
        rest = Rest(optimiser.init(trained), jnp.int32(begin), zeros, jnp.int32(0), zeros)
        # Copies, as zeros are one array many times and buffers are given away.
        rest = jax.device_put(jax.tree.map(np.array, jax.device_get(rest)), self._replicated)
        state = State(trained, rest)
        step = jax.jit(
            make_step(phase.loss, self.weights, optimiser, accumulate, self._micro),
            donate_argnums=0,
            out_shardings=self._replicated,
        )
        compiled = step.lower(state, frozen, constants, batch).compile()
        self._compile_s += time.perf_counter() - began
        return compiled, state

    def _batches(self, begin: int, end: int) -> Iterator[dict[str, jax.Array]]:
        """Batches of these steps; the next few are made while one is computed on."""
        steps = grain.MapDataset.range(begin, end).map(self.batch_at)
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
        for batch in steps.to_iter_dataset(options):
            yield self._placed(batch)

    def _placed(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        return jax.device_put(batch, self._split)


def lasting(settings: Any) -> dict[str, Any]:
    """Settings with a ``train`` part as plain data, less what may change from run to run."""
    numbers = asdict(settings)
    for name in ("log_every", "checkpoint_every", "accumulate"):
        del numbers["train"][name]
    return numbers


def check_split(settings: TrainSettings, devices: int) -> None:
    """Check that devices and micro-batches have equal parts of a batch.

    Raises:
        ArgumentError: They have not.
    """
    size = settings.accumulate * devices
    if settings.batch_size % size:
        raise ArgumentError(
            f"--batch-size must be a multiple of {size}, for {devices} devices and "
            f"--accumulate {settings.accumulate}; got {settings.batch_size}"
        )


def _record(phase: Phase, rest: Rest, *, steps: int) -> dict[str, Any]:
    """Means of the losses over the last ``steps`` steps."""
    sums, step = jax.device_get((rest.sums, rest.step))
    means = {name: float(value) / steps for name, value in sums.items()}
    return {"step": int(step), "phase": phase.name, **means}
