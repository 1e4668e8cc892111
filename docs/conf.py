"""How `make docs` builds the site: out of the repository as it stands, so that a relative link holds there and here."""

project = "Hikkoshi"
copyright = "the authors of Hikkoshi, Apache-2.0"
language = "en"
extensions = ["myst_nb"]
root_doc = "docs/index"
include_patterns = ["docs/**", "notebooks/*.ipynb", "README*.md", "CHANGELOG.md", "CONTRIBUTING.md"]
exclude_patterns = [".*", "build", "lib", "outputs", "params", "tests", "**/.ipynb_checkpoints"]  # not looked into

myst_heading_anchors = 4  # as GitHub names them
nb_execution_mode = "off"  # a runbook acts on machines; its page shows what it does
nb_ipywidgets_js = {}  # else each page asks a server of others for them

highlight_language = "none"  # what a page shows without a language is output

html_theme = "furo"
html_title = "Hikkoshi"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "front.html"}
html_copy_source = False
html_show_sourcelink = False
templates_path = ["templates"]
