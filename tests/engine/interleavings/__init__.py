"""Runs the threads of a dispatcher one at a time, in orders that are chosen and can be repeated."""
