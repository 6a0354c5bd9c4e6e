"""Items on other machines: the launch that submits, publishes and replays, and the session of a job."""
