"""WSGI applications, served."""
