"""The server over streamable HTTP: behind `personakit serve`, and alone on this machine."""
