"""The workspace engine: restore plans, links, validation, change detection and syncs."""
