"""Chat completions: the body of a request, and the parts of an answer."""
