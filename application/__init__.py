"""What programs do: commands to aggregates, process managers, effects; `application.ports` declares what they need."""
