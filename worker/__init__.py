"""What runs in the background: claims a job, runs its kind, reports."""
