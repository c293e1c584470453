"""Teachers: models to compress, read from folders, cut to some of their words, adapted to text."""

from autodistill.teacher.load import demo_teacher_folder, load_teacher
from autodistill.teacher.model import DenseLayer, Pooling, Teacher, TeacherKind, pool
from autodistill.teacher.restrict import restrict, restrict_to_file

__all__ = [
    "DenseLayer",
    "Pooling",
    "Teacher",
    "TeacherKind",
    "demo_teacher_folder",
    "load_teacher",
    "pool",
    "restrict",
    "restrict_to_file",
]
