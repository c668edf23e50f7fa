"""The page for people at `/console`: plain HTML, CSS and ES modules in `page/`, served as they are."""
