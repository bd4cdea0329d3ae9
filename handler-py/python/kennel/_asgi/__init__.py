"""ASGI 3 applications, served."""
