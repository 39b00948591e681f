"""Code shared by the commands: options, input and output."""
