"""The machine learning of VGAE-NAS in pure torch: no HTTP, no SQL, no Celery."""
