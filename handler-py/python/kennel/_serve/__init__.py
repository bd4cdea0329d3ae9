"""What a worker does: loading, serving, error pages, an operator's code; and a `kennel.App` served."""
