from .candidate import CHANGEABLE, Candidate, CandidateState
from .store import SCHEMA, SCHEMA_VERSION, Study

__all__ = ["CHANGEABLE", "SCHEMA", "SCHEMA_VERSION", "Candidate", "CandidateState", "Study"]
