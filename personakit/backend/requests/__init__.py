"""What a provider, an API and a model accept of a request."""
