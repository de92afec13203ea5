"""What runs in the background: claims a job, runs its kind, reports."""

import os

# threads that wait for others sleep; read when torch is loaded, which every module of this package does
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
