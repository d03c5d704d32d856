"""Pages of results: HTML in one file, with pictures that follow the page's colours."""
