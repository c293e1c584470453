"""Filling a latency table: row by row, never twice, never mixed."""

import resource
from dataclasses import replace
from datetime import datetime

import jax
import pytest

from autodistill.errors import SpaceError, TargetError
from autodistill.profiler import TableBuilder, Workload
from autodistill.profiler.estimated import RooflineTarget
from autodistill.space import Architecture
from autodistill.space.families import encoder_config
from predictors.table import append_row, read_table

FIELDS = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")


def shape(layers, width):
    return Architecture(
        num_hidden_layers=layers, hidden_size=width, num_attention_heads=2, intermediate_size=64
    )


SHAPES = [shape(1, 16), shape(2, 16), shape(1, 32), shape(2, 32)]
FAILING = shape(1, 48)


def ids(rows):
    return [Architecture(row.architecture).id for row in rows]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "table.csv"


@pytest.fixture
def build(path):
    def make(target, **changes):
        options = {
            "fields": FIELDS,
            "family": "bert",
            "workloads": [Workload()],
            "vocab_size": 100,
            **changes,
        }
        where = options.pop("path", path)
        return TableBuilder(where, options.pop("fields"), target=target, **options)

    return make


def test_rows_say_what_was_measured_and_where(build, counting, path):
    target = counting()
    rows = build(target).measure(SHAPES[:2])
    wanted = [encoder_config(a, family="bert", vocab_size=100) for a in SHAPES[:2]]
    assert sorted(target.asked, key=repr) == sorted(wanted, key=repr)
    assert [dict(row.architecture) for row in rows] == [dict(a) for a in SHAPES[:2]]
    assert [row.latency_ms for row in rows] == [0.16 + 1 / 7, 0.16 + 2 / 7]
    for row in rows:
        assert (row.target, row.device_kind, row.statistic) == ("counting", "abacus", "median")
        assert (row.batch_size, row.sequence_length, row.dtype) == (1, 128, "float32")
        assert (row.latency_iqr_ms, row.repeats, row.compile_s, row.flops) == (0.25, 20, 1.5, 7.0)
        assert (row.jax_version, row.compiler_version) == (jax.__version__, "beads 1.2")
        assert datetime.fromisoformat(row.measured_at).tzinfo is not None
    assert set(ids(read_table(path).rows)) == set(ids(rows))
    assert read_table(path).fields == tuple(sorted(FIELDS))


def test_nothing_is_measured_twice(build, counting):
    target = counting()
    builder = build(target)
    first = builder.measure([SHAPES[0], SHAPES[1], SHAPES[0]])
    assert first[0] == first[2]
    second = builder.measure([SHAPES[2], SHAPES[1]])  # in the order asked
    assert [dict(row.architecture) for row in second] == [dict(SHAPES[2]), dict(SHAPES[1])]
    assert second[1] == first[1]
    assert len(target.asked) == 3


def test_a_new_run_goes_on_where_the_last_one_stopped(build, counting, path):
    interrupted = counting(stops_after=2)
    with pytest.raises(KeyboardInterrupt):
        build(interrupted).measure(SHAPES)
    before = path.read_bytes()
    assert len(read_table(path).rows) == 2  # each was on disk before the next began
    resumed = counting()
    rows = build(resumed).measure(SHAPES)
    assert len(resumed.asked) == 2
    assert path.read_bytes().startswith(before)
    alone = counting()
    build(alone, path=path.with_name("alone.csv")).measure(SHAPES)
    assert interrupted.asked + resumed.asked == alone.asked  # the order is as if never stopped
    assert sorted(ids(read_table(path).rows)) == sorted(ids(rows))


def test_progress_counts_known_rows_too(build, counting):
    builder = build(counting())
    builder.measure(SHAPES[:2])
    seen = []
    builder.measure(SHAPES, progress=seen.append)
    assert seen == [2, 3, 4]
    seen.clear()
    builder.measure([*SHAPES, SHAPES[0]], progress=seen.append)
    assert seen == [5]


def test_a_row_is_on_disk_before_it_is_reported(build, counting, path):
    def check(done):
        assert len(read_table(path).rows) == done

    build(counting()).measure(SHAPES, progress=check)


def test_the_order_of_measuring_is_shuffled_by_the_seed(build, counting, tmp_path):
    many = [shape(layers, width) for layers in range(1, 7) for width in (16, 32, 64)]

    def order(seed):
        target = counting()
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"
        rows = build(target, seed=seed, path=path).measure(many)
        assert [Architecture(row.architecture) for row in rows] == many
        return target.asked

    assert order(0) == order(0) != order(1)


def test_one_table_holds_several_workloads(build, counting, path):
    small, large = Workload(1), Workload(8)
    target = counting()
    builder = build(target, workloads=[small, large])
    one = builder.measure(SHAPES, small)
    eight = builder.measure(SHAPES[:2], large)
    assert [row.batch_size for row in one + eight] == [1] * 4 + [8] * 2
    assert len(target.asked) == 6
    assert builder.measure(SHAPES[:2], large) == eight and len(target.asked) == 6
    assert set(builder.known(large)) == set(SHAPES[:2])
    assert set(builder.known(small)) == set(SHAPES)
    with pytest.raises(TargetError, match="is for batch 1 .*; batch 8 .*; got None: name one"):
        builder.measure(SHAPES)
    with pytest.raises(TargetError, match="got batch 2 x 128"):
        builder.measure(SHAPES, Workload(2))
    with pytest.raises(TargetError, match="batch_size 8; these would have 1: choose another"):
        build(counting())
    mixed = [Workload(1, 64), Workload(8, 128), Workload(1, 32)]
    with pytest.raises(TargetError, match="rows of batch 1 x 128 .*; these would be of batch 1"):
        build(counting(), workloads=mixed)


def test_a_table_without_workloads_is_refused(build, counting, path):
    with pytest.raises(TargetError, match="at least one workload"):
        build(counting(), workloads=[])
    assert not path.exists()


def test_encoders_can_be_made_by_any_function(build, counting):
    """Two families in one table: a field of it tells which."""

    def config_of(architecture):
        fields = architecture.to_dict()
        family = fields.pop("model_type")
        return encoder_config(fields, family=family, vocab_size=7)

    shapes = [Architecture(SHAPES[0], model_type="bert")]
    target = counting()
    builder = build(target, fields=(*FIELDS, "model_type"), config_of=config_of)
    (row,) = builder.measure(shapes)
    assert row.architecture["model_type"] == "bert"
    assert [config.vocab_size for config in target.asked] == [7]


def test_what_was_begun_is_ended_with_the_table(build, counting, path):
    """A target may hold a device: it hears at once that nobody listens any more."""
    ended = []

    class Held(counting):
        def measure(self, configs, workload):
            try:
                yield from super().measure(configs, workload)
            finally:
                ended.append(len(self.asked))

    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        build(Held()).measure(SHAPES, progress=stop)
    assert ended == [1], caught


def test_failures_are_rows_and_are_not_tried_again(build, counting, path):
    target = counting()
    rows = build(target).measure([SHAPES[0], FAILING, SHAPES[1]])
    assert [row.latency_ms is None for row in rows] == [False, True, False]
    failed = rows[1]
    assert failed.error == "RESOURCE_EXHAUSTED: no memory"  # on one line
    assert (failed.statistic, failed.repeats) == (None, None)
    again = build(target)
    assert again.measure([FAILING]) == [failed]
    assert len(target.asked) == 3
    assert len(again.rows().measured) == 2
    assert set(again.known()) == {SHAPES[0], SHAPES[1], FAILING}


def test_of_repeated_rows_the_newest_counts(build, counting, path):
    builder = build(counting())
    (row,) = builder.measure([SHAPES[0]])
    append_row(path, replace(row, latency_ms=99.0))
    assert builder.known()[SHAPES[0]].latency_ms == 99.0
    assert builder.measure([SHAPES[0]])[0].latency_ms == 99.0


@pytest.mark.parametrize(
    ("target_changes", "changes", "message"),
    [
        ({"name": "other"}, {}, "rows with target 'counting'; these would have 'other'"),
        ({"device_kind": "slate"}, {}, "device_kind 'abacus'; these would have 'slate'"),
        ({}, {"workloads": [Workload(batch_size=8)]}, "batch_size 1; these would have 8"),
        ({}, {"workloads": [Workload(sequence_length=64)]}, "sequence_length 128; .* have 64"),
        ({}, {"workloads": [Workload(dtype="bfloat16")]}, "dtype 'float32'; .* 'bfloat16'"),
        ({}, {"fields": (*FIELDS, "hidden_act")}, r"has the fields \[.*\]; this space has"),
        ({}, {"fields": FIELDS[1:]}, "choose another file"),
    ],
)
def test_what_is_not_comparable_is_refused(build, counting, path, target_changes, changes, message):
    build(counting()).measure([SHAPES[0], FAILING])
    before = path.read_bytes()
    with pytest.raises(TargetError, match=message):
        build(counting(**target_changes), **changes)
    assert path.read_bytes() == before


def test_the_order_of_fields_does_not_matter(build, counting):
    build(counting()).measure(SHAPES[:1])
    target = counting()
    build(target, fields=FIELDS[::-1]).measure(SHAPES[:1])
    assert target.asked == []


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_torn_last_line_is_measured_again(build, counting, path, cut):
    """Killed while writing: at most the row in flight is lost."""
    build(counting()).measure([SHAPES[0], SHAPES[1]])
    build(counting()).measure([FAILING])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    target = counting()
    rows = build(target).measure([SHAPES[0], SHAPES[1], FAILING])
    assert [config.hidden_size for config in target.asked] == [48]
    assert sorted(ids(read_table(path).rows)) == sorted(ids(rows))
    assert path.read_bytes().splitlines()[:3] == whole.splitlines()[:3]


@pytest.mark.parametrize("kept", [0, 1, 60])
def test_a_file_without_a_whole_header_is_begun_anew(build, counting, path, kept):
    build(counting())
    path.write_bytes(path.read_bytes()[:kept])
    assert len(build(counting()).measure(SHAPES[:1])) == 1
    assert len(read_table(path).rows) == 1


def test_estimates_of_another_compiler_are_refused(build, counting, path):
    """Timings stay comparable; an estimate is the compiler's own."""
    estimates = {"statistic": "compiler_estimate"}
    build(counting(**estimates)).measure([SHAPES[0]])
    before = path.read_bytes()
    with pytest.raises(TargetError, match="compiler_version 'beads 1.2'; .* have 'beads 2'"):
        build(counting(**estimates, compiler_version="beads 2"))
    assert path.read_bytes() == before
    path.unlink()
    build(counting()).measure([SHAPES[0]])
    assert len(build(counting(compiler_version="beads 2")).known()) == 1


def test_a_file_that_is_no_table_is_refused_and_kept(build, counting, path):
    path.write_text("a note to myself")
    with pytest.raises(TargetError, match="is not a latency table"):
        build(counting())
    assert path.read_text() == "a note to myself"


def test_a_path_that_cannot_be_written_is_refused_before_anything_is_measured(counting, tmp_path):
    target = counting()
    for path in (tmp_path / "absent" / "table.csv", tmp_path):
        with pytest.raises(TargetError, match=r"cannot (write|read) table"):
            TableBuilder(
                path, FIELDS, family="bert", target=target, workloads=[Workload()], vocab_size=100
            )
    assert target.asked == []


def test_a_full_disk_keeps_the_rows_so_far(build, counting, path):
    builder = build(counting())
    builder.measure(SHAPES[:1])
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))
    try:
        with pytest.raises(TargetError, match=r"cannot write table .*: File too large"):
            builder.measure(SHAPES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert len(builder.measure(SHAPES)) == 4


def test_a_table_that_vanished_is_an_error_and_not_a_crash(build, counting, path):
    builder = build(counting())
    path.unlink()
    with pytest.raises(TargetError, match="cannot read table"):
        builder.rows()


def test_architectures_of_another_family_are_refused(build, counting, path):
    builder = build(counting())
    with pytest.raises(SpaceError, match="unknown fields"):
        builder.measure([Architecture(SHAPES[0], embedding_size=8)])
    assert builder.rows().rows == ()


def test_estimates_are_labelled_in_the_table(build):
    (row,) = build(RooflineTarget(), workloads=[Workload(1, 8)]).measure(SHAPES[:1])
    assert (row.statistic, row.repeats) == ("compiler_estimate", 0)
    assert row.latency_ms > 0
    assert row.peak_memory_bytes > 0
