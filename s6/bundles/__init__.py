"""The Active Bundle: the one in force, and the watch for a newer one."""
