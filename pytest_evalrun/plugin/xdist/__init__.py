"""How pytest-xdist is driven: what is sent to which worker, in what order, and what becomes of those that die."""
