"""Comparisons with the baseline and the reference line, by hand-made numbers."""

import math
from dataclasses import replace

import pytest

from autodistill.report.compare import above_reference, beat_baseline, mean_relative_error
from autodistill.report.data import ReferenceLine, ReportData, ReportRow, TeacherRow
from autodistill.report.from_study import rows_from_candidates
from autodistill.study import CandidateState, Study


def test_report_margins_are_those_computed_by_hand(report: ReportData) -> None:
    comparison = beat_baseline(report.rows)
    assert comparison is not None
    by_number = {margin.number: margin for margin in comparison.margins}
    assert set(by_number) == {1, 2, 3, 4}  # neither the baseline nor the incomplete
    first = by_number[1]
    assert first.speedup == 2.0
    assert first.quality_gain == pytest.approx(0.1)
    assert first.quality_gain_se == pytest.approx(0.05)  # 3-4-5 triangle
    assert [margin.number for margin in comparison.winners] == [1, 2]
    assert comparison.fastest is not None and comparison.fastest.number == 1
    assert comparison.best is not None and comparison.best.number == 2
    assert by_number[2].clear
    assert not by_number[4].beats and not by_number[3].beats


def test_report_equal_to_the_baseline_does_not_beat_it(report: ReportData) -> None:
    baseline = report.rows[0]
    same_speed = replace(report.rows[1], latency_ms=10.0, quality=0.9)
    same_quality = replace(report.rows[2], latency_ms=1.0, quality=0.5)
    comparison = beat_baseline([baseline, same_speed, same_quality])
    assert comparison is not None and comparison.winners == ()
    assert comparison.fastest is None and comparison.best is None


def test_report_a_gain_without_errors_is_never_clear(report: ReportData) -> None:
    rows = [replace(row, quality_se=None) for row in report.rows]
    comparison = beat_baseline(rows)
    assert comparison is not None and len(comparison.winners) == 2
    assert not any(m.clear or m.quality_gain_se is not None for m in comparison.margins)


def test_report_without_a_complete_baseline_there_is_no_comparison(report: ReportData) -> None:
    assert beat_baseline(report.rows[1:]) is None
    assert beat_baseline([replace(report.rows[0], state="failed"), *report.rows[1:]]) is None
    assert beat_baseline([]) is None


def test_report_above_reference_counts_complete_candidates(report: ReportData) -> None:
    assert [row.number for row in above_reference(report.rows, report.reference)] == [1, 2, 4]
    assert above_reference(report.rows, None) == ()
    assert above_reference(report.rows, ReferenceLine("equal", 0.66)) == ()  # on it is not above


def test_report_relative_error_is_of_the_measured_value(report: ReportData) -> None:
    assert report.rows[2].latency_error == pytest.approx(-0.25)  # 6 predicted, 8 measured
    assert report.rows[0].latency_error is None
    assert replace(report.rows[2], latency_ms=None).latency_error is None
    assert mean_relative_error([]) is None
    error = mean_relative_error([(5.5, 5.0), (6.0, 8.0)])
    assert error is not None and math.isclose(error, 0.175)


def test_report_records_are_valid_once_built(report: ReportData) -> None:
    with pytest.raises(ValueError, match="role must be"):
        ReportRow(1, "teacher", {}, "complete")
    with pytest.raises(ValueError, match="kind must be one of"):
        replace(report, kind="decoder")
    with pytest.raises(ValueError, match="statistic must be one of"):
        replace(report, statistic="mean")
    with pytest.raises(ValueError, match="one baseline"):
        replace(report, rows=(report.rows[0], report.rows[0]))
    assert TeacherRow(1).latency_ms is None


def test_report_rows_come_from_a_study(tmp_path) -> None:
    with Study.create(tmp_path / "study.sqlite", identity={}, config={}) as study:
        done = {"state": CandidateState.COMPLETE, "latency_ms": 2.0, "quality": 0.5}
        study.add({"n": 1}, "1", role="baseline", **done)
        details = {"agreement": 0.4, "untrained_quality": 0.0, "seconds": 3}
        study.add({"n": 2}, "2", **(done | {"quality": 0.6, "details": details}))
        study.add({"n": 3}, "3", state="failed", error="diverged")
        baseline, student, failed = rows_from_candidates(study.candidates())
    assert not baseline.on_front and student.on_front and not failed.on_front
    assert (student.agreement, student.untrained_quality) == (0.4, 0.0)
    assert failed.error == "diverged" and failed.state == "failed"
    assert baseline.role == "baseline" and baseline.architecture == {"n": 1}
