"""Designers: whatever turns a task and a budget into a design, all charged at one meter."""
