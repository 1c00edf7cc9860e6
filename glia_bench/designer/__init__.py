"""Designers: what turns a task and a budget into a design; language models are optional and imported lazily."""
