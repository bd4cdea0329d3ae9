"""Live connections: handles, rooms, and the hub's orders about them."""
