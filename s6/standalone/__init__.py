"""Runs the whole system on one machine: embedded Redis, paper neighbours, every process. None outlives its starter."""
