"""Two sides sample by sample: baselines and runs, paired by id and reference, and what may be concluded."""
