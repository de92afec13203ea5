"""Labelled images with a fixed train/test split."""
