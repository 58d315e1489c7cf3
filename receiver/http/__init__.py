"""The way in over HTTP: limits, protocol, who may post, the body, and the answers.

Must not know how a callback is parsed, decided or written: `ingress` hands an Envelope to a
`CallbackIntake`.
"""
