"""Options as a user gives them: on a command line or in YAML, from anywhere, read without trust."""
