"""How long a table will take: against targets whose seconds are known exactly."""

import pytest

from autodistill.models.config import BertConfig, MobileBertConfig
from autodistill.profiler import Measurement, Workload, estimate_time
from autodistill.space import SearchSpace
from autodistill.space.cost import encoder_cost

SHAPES = [BertConfig(layers, 64, 2, 64, vocab_size=50) for layers in (3, 1, 8, 2, 5)]


class Clock:
    """A target that takes its time on a clock of its own, several at once."""

    def __init__(self, seconds, *, at_once=1, start_up=0.0):
        self.seconds, self.at_once, self.start_up = seconds, at_once, start_up
        self.now, self.asked = 100.0, []

    def monotonic(self):
        return self.now

    def measure(self, configs, workload):
        self.now += self.start_up
        self.asked.append((list(configs), workload))
        left, open_ = list(range(len(configs))), {}
        while left or open_:
            while left and len(open_) < self.at_once:
                i = left.pop(0)
                open_[i] = self.now + self.seconds(configs[i])
                yield i, None
            first = min(open_, key=open_.get)
            self.now = open_.pop(first)
            yield first, Measurement(1.0)


@pytest.fixture
def estimate(monkeypatch):
    def run(clock, todo, **options):
        monkeypatch.setattr(estimate_time.time, "monotonic", clock.monotonic)
        return estimate_time.estimate_time(clock, todo, **options)

    return run


def by_depth(config):
    return 2.0 + 3.0 * config.num_hidden_layers


def test_estimate_is_exact_where_time_is_linear_in_size(estimate):
    clock = Clock(by_depth, start_up=50.0)
    trial = estimate(clock, {Workload(): SHAPES})
    assert trial.seconds == pytest.approx(sum(map(by_depth, SHAPES)))
    assert clock.asked == [([SHAPES[1], SHAPES[0], SHAPES[2]], Workload())]
    assert [config for config, _, _ in trial.measured] == [SHAPES[1], SHAPES[0], SHAPES[2]]


def test_estimate_adds_up_over_workloads(estimate):
    todo = {Workload(1): SHAPES, Workload(8): SHAPES[:2], Workload(9): []}
    clock = Clock(by_depth)
    trial = estimate(clock, todo)
    assert trial.seconds == pytest.approx(sum(map(by_depth, SHAPES + SHAPES[:2])))
    assert [workload.batch_size for _, workload in clock.asked] == [1, 8]


def test_estimate_counts_shared_programs_once(estimate):
    """All have the same embeddings, and depths 5 and 8 the same blocks."""

    def programs(config):
        return [("embeddings", 0), ("blocks", min(config.num_hidden_layers, 5))]

    # Tried are the depths 1, 3 and 8: four programs in 3 * 10 s. All have five.
    clock = Clock(lambda config: 10.0)
    trial = estimate(clock, {Workload(): SHAPES}, programs=programs)
    assert trial.seconds == pytest.approx(30.0 * 5 / 4)


@pytest.mark.parametrize(("there", "left"), [((), 5), (slice(0, 1), 3), (slice(0, 5), 0)])
def test_estimate_leaves_out_programs_that_are_there(estimate, there, left):
    """Embeddings and one depth are there with the first; all with all."""

    def programs(config):
        return [("embeddings", 0), ("blocks", min(config.num_hidden_layers, 5))]

    known = {Workload(): SHAPES[there] if there else [], Workload(8): SHAPES}
    clock = Clock(lambda config: 10.0)
    trial = estimate(clock, {Workload(): SHAPES}, programs=programs, there=known)
    assert trial.seconds == pytest.approx(30.0 * left / 4)


@pytest.mark.parametrize(("at_once", "seconds"), [(1, 50.0), (2, 50.0), (4, 37.5), (16, 30.0)])
def test_estimate_of_programs_that_are_compiled_side_by_side(estimate, at_once, seconds):
    """The three took 30 s: three, two and one after another, and there are five."""
    trial = estimate(
        Clock(lambda config: 10.0),
        {Workload(): SHAPES},
        programs=lambda config: [config],
        at_once=at_once,
    )
    assert trial.seconds == pytest.approx(seconds)


def test_estimate_counts_turns_of_one_process_once(estimate):
    """Three that are open side by side on one device: their seconds overlap."""
    trial = estimate(Clock(lambda config: 30.0, at_once=3), {Workload(): SHAPES[:3]})
    assert trial.seconds == pytest.approx(30.0)


def test_estimate_of_one_encoder(estimate):
    assert estimate(Clock(by_depth), {Workload(): SHAPES[:1]}).seconds == pytest.approx(11.0)


def test_estimate_sizes_are_those_of_the_cost_model():
    baseline = SearchSpace.preset("mobilebert").baseline
    cost = encoder_cost(baseline, family="mobilebert", vocab_size=30522)
    assert estimate_time.multiply_adds(MobileBertConfig(24, 512, 4, 512)) == cost.multiply_adds
