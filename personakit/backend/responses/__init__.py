"""The Responses API: the body of a request, and the parts of an answer."""
