"""The runs of one worker and the processes of their agents."""
