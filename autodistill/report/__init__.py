"""What a search found, as a terminal table and as one HTML file.

Pure functions of a ``ReportData``: ``data`` holds the facts, ``pareto`` and
``compare`` the maths, ``words`` the shared phrases, ``terminal`` and ``html``
the two outputs, ``from_study`` the way in from the study's candidates.
"""
