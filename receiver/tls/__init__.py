"""Files of TLS: certificates, keys and authorities, read and checked; each fault one line that names its setting.

Must not know who listens or connects with them.
"""
