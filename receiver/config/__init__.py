"""Settings: every name, default and check, read once from the environment and one TOML file.

Must not know what a setting is used for.
"""
