from .load import demo_teacher_folder, load_teacher
from .model import DenseLayer, Pooling, Teacher, TeacherKind, pool
from .restrict import restrict, restrict_to_file

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
