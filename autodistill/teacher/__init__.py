"""Teachers: models to compress, read from folders, and adapted to a text."""

from autodistill.teacher.load import demo_teacher_folder, load_teacher
from autodistill.teacher.model import DenseLayer, Pooling, Teacher, TeacherKind, pool

__all__ = [
    "DenseLayer",
    "Pooling",
    "Teacher",
    "TeacherKind",
    "demo_teacher_folder",
    "load_teacher",
    "pool",
]
