"""What all endpoints share: dispatch, authentication, problem documents, idempotency keys, OpenAPI, live streams."""
