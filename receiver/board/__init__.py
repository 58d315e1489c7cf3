"""The board: one page that shows the fleet, what happens to it, and why."""
