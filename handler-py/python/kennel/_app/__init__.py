"""What a script registers: its app, and the channels of live connections."""
