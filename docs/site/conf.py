"""How Sphinx draws the documents: Markdown by MyST, the theme furo, nothing from any network."""

project = "difgen"
html_title = "difgen"
extensions = ["myst_parser"]
myst_heading_anchors = 4  # GitHub's anchors, which links in the repository use
myst_links_external_new_tab = False
html_theme = "furo"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # it fetches each page, which a browser does not allow from file://
pygments_style = "default"
pygments_dark_style = "github-dark"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
