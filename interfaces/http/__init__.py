"""The HTTP API: one module per resource; routes and OpenAPI document are made from one table of endpoints."""
