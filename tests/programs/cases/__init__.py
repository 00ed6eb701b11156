"""Stacks of all kinds, each ending in a wait. A module holds those of the versions it is named after."""
