"""Which layer of the teacher each layer of the student learns from.

Layers are counted from 1, as hidden states are: state 0 is the output of the
embedding, state ``i`` that of layer ``i``. A layer map is a tuple with one entry
per layer of the student, the layer of the teacher, or ``None`` where it learns
from none.

References:
    [Jiao2020] TinyBERT. https://arxiv.org/abs/1909.10351, section 3.1.
"""

from collections.abc import Iterator, Sequence

from autodistill.errors import RecipeError

LayerMap = tuple[int | None, ...]


def uniform(student: int, teacher: int) -> LayerMap:
    """Layers at equal distances, the last to the last [Jiao2020].

    In a student that is deeper than its teacher, the teacher's layers lie so.

    Example:
        >>> uniform(4, 12), uniform(3, 4), uniform(4, 2)
        ((3, 6, 9, 12), (1, 3, 4), (None, 1, None, 2))
    """
    if student <= teacher:
        return _even(student, teacher)
    places = {place: layer for layer, place in enumerate(_even(teacher, student), 1)}
    return tuple(places.get(i) for i in range(1, student + 1))


def source_name(name: str, layers: LayerMap) -> str | None:
    """The checkpoint name of the weight that this one takes after; None if of no layer.

    Example:
        >>> source_name("encoder.layer.0.output.dense.bias", (3, None))
        'encoder.layer.2.output.dense.bias'
    """
    parts = name.split(".")
    if parts[:2] != ["encoder", "layer"]:
        return name
    layer = layers[int(parts[2])]
    return None if layer is None else ".".join([*parts[:2], str(layer - 1), *parts[3:]])


def last(student: int, teacher: int) -> LayerMap:
    """The last layer alone; any depths.

    Example:
        >>> last(3, 12)
        (None, None, 12)
    """
    return (*(None,) * (student - 1), teacher)


def top(student: int, teacher: int) -> LayerMap:
    """The last layers, one to one.

    Raises:
        RecipeError: The student is deeper than the teacher.

    Example:
        >>> top(3, 12)
        (10, 11, 12)
    """
    if student > teacher:
        raise RecipeError(
            f"a student of {student} layers cannot learn layer by layer from the last ones of a "
            f"teacher of {teacher}; take a shallower student or a deeper teacher"
        )
    return tuple(range(teacher - student + 1, teacher + 1))


def given(layers: Sequence[int | None], student: int, teacher: int) -> LayerMap:
    """A map of one's own, checked.

    Raises:
        RecipeError: It has not one entry per layer of the student, names a layer that
            the teacher has not, maps none, or goes back.

    Example:
        >>> given([2, None, 5], 3, 6)
        (2, None, 5)
    """
    if len(layers) != student:
        raise RecipeError(
            f"a layer map must have one entry per layer of the student, {student}; "
            f"got {len(layers)}: {list(layers)}"
        )
    named = [layer for layer in layers if layer is not None]
    if not named:
        raise RecipeError("a layer map must name a layer of the teacher; got only None")
    if wrong := [layer for layer in named if not 1 <= layer <= teacher]:
        raise RecipeError(f"the teacher has layers 1 to {teacher}; the layer map names {wrong}")
    if named != sorted(named):
        raise RecipeError(f"a layer map must not go back; got {list(layers)}")
    return tuple(layers)


def progressive(layers: LayerMap) -> tuple[LayerMap, ...]:
    """One map per mapped layer of the student, from the first on, with that layer alone.

    Example:
        >>> progressive((3, 6))
        ((3, None), (None, 6))
    """
    return tuple(
        tuple(layer if i == at else None for i, layer in enumerate(layers))
        for at, mapped in enumerate(layers)
        if mapped is not None
    )


def pairs(layers: LayerMap) -> Iterator[tuple[int, int]]:
    """Layers of student and teacher that the map pairs.

    Example:
        >>> list(pairs((None, 6, None, 12)))
        [(2, 6), (4, 12)]
    """
    return ((i, j) for i, j in enumerate(layers, 1) if j is not None)


def blocks(layers: LayerMap) -> tuple[tuple[int, int, int, int], ...]:
    """The stretches that end at mapped layers: student's begin and end, teacher's begin and end.

    Begins are exclusive: ``(0, 2, 0, 6)`` is layers 1 and 2 of the student, which
    learn to do what layers 1 to 6 of the teacher do.

    Example:
        >>> blocks((None, 6, None, 12))
        ((0, 2, 0, 6), (2, 4, 6, 12))
    """
    found, begin, teacher_begin = [], 0, 0
    for end, teacher_end in pairs(layers):
        found.append((begin, end, teacher_begin, teacher_end))
        begin, teacher_begin = end, teacher_end
    return tuple(found)


def _even(few: int, many: int) -> tuple[int, ...]:
    """``few`` numbers up to ``many`` at equal distances; halves are rounded up."""
    return tuple((2 * i * many + few) // (2 * few) for i in range(1, few + 1))
