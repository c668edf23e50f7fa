"""What the HTTP servers of both programs share: problem documents, trace headers, bodies, field paths, limits."""
