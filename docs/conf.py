"""The configuration of Sphinx. ``nox -s docs`` builds the site from the Markdown files of this folder."""

project = "zero-errors"
author = "The zero-errors developers"
extensions = ["myst_parser"]
myst_heading_anchors = 3  # the anchors of headings are those of GitHub
exclude_patterns = ["conf.py"]
html_theme = "furo"
html_title = "zero-errors"
html_copy_source = False
html_show_copyright = False
