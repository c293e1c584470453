"""What a short run foretells: the quality, less a share of the late token losses."""

import numpy as np
import pytest

from autodistill.distill.flash import FlashDistiller
from autodistill.distill.foretold import SHORT, TOKEN_SHARE, foretold
from autodistill.models.config import BertConfig


def test_foretold_takes_the_mean_token_loss_of_the_last_fifth() -> None:
    losses = [{"token": float(i), "passage": 100.0} for i in range(10)]
    assert foretold(0.6, losses) == pytest.approx(0.6 - TOKEN_SHARE * 8.5)
    assert foretold(0.6, losses[:1]) == pytest.approx(0.6)  # the loss of its one step is 0
    assert foretold(0.6, losses[:2]) == pytest.approx(0.6 - TOKEN_SHARE)


def test_foretold_of_a_run_that_is_no_short_one_is_its_quality() -> None:
    losses = [{"token": 1.0, "passage": 1.0}] * (SHORT + 1)
    assert foretold(0.6, losses[:-1]) == pytest.approx(0.6 - TOKEN_SHARE)
    assert foretold(0.6, losses) == 0.6


@pytest.mark.parametrize("parts", [{"passage": 1.0}, {"token": 1.0, "label": 2.0}, {}])
def test_foretold_is_the_quality_where_no_such_sum_was_measured(parts: dict[str, float]) -> None:
    assert foretold(0.6, [parts] * 10) == 0.6
    assert foretold(0.6, []) == 0.6


def test_foretold_of_a_distilled_student_is_that_of_its_run(make_distiller) -> None:
    distiller: FlashDistiller = make_distiller()
    config = BertConfig(1, 24, 2, 32, vocab_size=60, max_position_embeddings=32)
    distilled = distiller.distil(config)
    _, run = distiller.begin(config)
    run.advance(distiller.settings.steps)
    late = [float(one["token"]) for one in run.losses]
    late = late[-max(round(0.2 * len(late)), 1) :]
    expected = distilled.judged.quality.value - TOKEN_SHARE * np.mean(late)
    assert distilled.foretold == pytest.approx(expected, abs=1e-6)
    assert distilled.foretold < distilled.judged.quality.value
