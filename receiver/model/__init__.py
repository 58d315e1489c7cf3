"""Values without behaviour: what a callback says, the entities it is about, what arrived, and text made storable.

Must not know how any of them is read, decided, stored or published.
"""
