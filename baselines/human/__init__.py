"""Designs by people: what is deployed, and the experts that others are measured against."""
