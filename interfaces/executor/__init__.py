"""The service inside a worker that owns its workspace and drives the agent."""
