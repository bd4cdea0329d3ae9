"""What the rest stands on: this process's state and log, coroutines, JSON, and the words for errors."""
