"""Requests and responses: what handlers are given beyond the native request, and what they answer with."""
