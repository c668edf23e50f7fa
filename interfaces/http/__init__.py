"""The HTTP API: one short module per resource, one table of endpoints that makes the routes and the OpenAPI page."""
