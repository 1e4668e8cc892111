"""JupyterLab on a site's folder: what it serves, and what it may write there."""
