"""What is told of a guest's move to whoever decides or audits: its state, judged by what was seen, as a page, HTML and PDF."""

import hikkoshi.record  # noqa: F401 - first: it keeps nbformat, which reads executed notebooks here, from loading a grammar
