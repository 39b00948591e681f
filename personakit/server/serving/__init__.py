"""The processes of the server: sockets, one worker or several, signals and what is printed."""
