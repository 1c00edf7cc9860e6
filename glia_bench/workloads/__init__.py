"""Workloads: arrivals and lengths from raw random bits through integer tables, and the reader of a lengths file."""
