"""Latency and accuracy predictors for encoder architectures, and their tables.

Stands alone: needs NumPy, SciPy, scikit-learn, XGBoost and lazy_loader only.

Example:
    >>> import numpy as np
    >>> from predictors import GPPredictor
    >>> layers = np.array([[2.0], [4.0], [6.0], [8.0]])
    >>> latency_ms = np.array([1.0, 2.0, 3.0, 4.0])
    >>> model = GPPredictor().fit(layers, latency_ms)
    >>> float(model.predict([[5.0]])[0].round(1))
    2.5
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
