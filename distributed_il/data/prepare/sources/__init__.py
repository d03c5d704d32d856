"""Raw files of every known layout, as rows."""
