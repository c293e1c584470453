"""The tokens of a teacher that a text needs most, as a vocabulary for its students."""

from collections.abc import Sequence

import numpy as np

from autodistill.errors import TeacherError
from autodistill.teacher.model import Teacher

CONTINUED = "##"  # what a WordPiece token begins with inside a word


def frequent_tokens(
    teacher: Teacher,
    tokens: np.ndarray,  # (n,) ids of a text
    size: int,
) -> Sequence[str]:
    """At most ``size`` tokens in the teacher's order.

    Special tokens are kept, and each character of the text, alone and inside a word,
    so that no word that the teacher can spell becomes unknown. The rest are the
    commonest, the earlier of two that are equally common; tokens that the text does
    not use are left out.

    Raises:
        TeacherError: What must be kept is more than ``size``.
    """
    counts = np.bincount(tokens, minlength=teacher.config.vocab_size)
    ids = teacher.tokenizer.get_vocab(with_added_tokens=True)
    names = sorted(ids, key=ids.__getitem__)
    kept = set(teacher.special.ids())
    used = [names[i] for i in np.flatnonzero(counts) if i not in kept]
    characters = {character for name in used for character in name.removeprefix(CONTINUED)}
    kept |= {i for i, name in enumerate(names) if name.removeprefix(CONTINUED) in characters}
    if len(kept) > size:
        raise TeacherError(
            f"--size must be at least {len(kept):,}: the special tokens and the "
            f"{len(characters):,} characters of the text; got {size:,}"
        )
    for i in np.argsort(-counts, kind="stable"):
        if len(kept) == size or not counts[i]:
            break
        kept.add(int(i))
    return [names[i] for i in sorted(kept)]
