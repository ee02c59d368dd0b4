"""Dagster assets of frames-pipeline."""
