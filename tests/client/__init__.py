"""The consumers' kit (`client/`): feed, query API, inbox, and what it promises its users."""
