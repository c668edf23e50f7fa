"""Worker runtimes: they make, find and end the containers of session workers."""
