"""The laboratory: what is not the service but shows, feeds and tries it.

`emulator` is an ESC to practise on, `simulator` plays traffic with its own truth, `demo` shows the whole, `fixtures`
gives tests an ESC and a receiver. The service never imports any of it.
"""
