"""What the programs do: commands to aggregates, process managers, effects; `application.ports` leads to the world."""
