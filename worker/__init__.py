"""What runs in the background: claims a job, runs its kind, reports."""

from app.threads import wait_passively

wait_passively()  # here, as every module of this package loads torch
