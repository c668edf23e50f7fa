"""The web console at `/console`: plain HTML, CSS and ES modules in `page/`, served without a build step."""
