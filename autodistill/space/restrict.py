"""The part of a space that suits a kind of teacher."""

from autodistill.space.families import DEFAULT_EMBEDDING_FITS_HEAD, EMBEDDING_FITS_HEAD
from autodistill.space.space import SearchSpace
from autodistill.space.space_file import nearest_to_mobilebert


def for_masked_lm(space: SearchSpace) -> SearchSpace:
    """The part of a space whose students can carry a masked-LM head.

    Hugging Face's MobileBERT head cannot hold an embedding wider than the
    hidden states; BERT's always fits.

    Raises:
        SpaceError: Nothing is left, or the baseline is not.
    """
    if space.family != "mobilebert":
        return space
    chosen = "embedding_size" in space.choices
    rule = EMBEDDING_FITS_HEAD if chosen else DEFAULT_EMBEDDING_FITS_HEAD
    if rule in space.rules:
        return space
    if space.baseline is None or space.baseline != nearest_to_mobilebert(space):
        return space.with_rule(rule)
    # the baseline follows from the choices: let it follow from those that remain
    rest = space.with_baseline(None).with_rule(rule)
    return rest.with_baseline(nearest_to_mobilebert(rest))
