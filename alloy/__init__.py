"""Agents as supervised processes on Trio."""
