"""One loop asks every model: what is done is skipped, what fails is tried again, then split; lines are kept at once."""
