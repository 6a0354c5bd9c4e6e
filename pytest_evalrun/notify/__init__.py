"""Messages about a run: what is said, when, and to whom; it can never break, delay or change one."""
