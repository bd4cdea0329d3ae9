"""Behind `kennel.testing` and `kennel test`: the workers of a site without a server, and files of tests."""
