"""`esc-receiver demo`: orchestrators, emulated ESCs and the whole service in a throw-away folder."""
