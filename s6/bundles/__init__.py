"""Holds the Active Bundle in force, and watches for a newer one."""
