"""From bytes to a notification: one XML document read safely, ESC's words translated to ours.

`xml_document` reads XML (the only place that imports lxml), `vocabulary` holds ESC's words, `parser` makes a
Notification of an Envelope, `parsed_callback` joins both. Must not know HTTP, SQL or NATS.
"""
