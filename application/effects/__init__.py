"""Effect handlers: each performs one kind of wanted effect through the ports and records what it saw as an event."""
