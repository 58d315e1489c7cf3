"""The board: one page that shows the fleet, what it does, and why (docs/board.md)."""
