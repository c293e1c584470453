"""The record of one search, in SQLite, safe against whatever stops it."""

from autodistill.study.candidate import CHANGEABLE, Candidate, CandidateState
from autodistill.study.store import SCHEMA, SCHEMA_VERSION, Study

__all__ = ["CHANGEABLE", "SCHEMA", "SCHEMA_VERSION", "Candidate", "CandidateState", "Study"]
