"""From bytes to a notification: one XML document read safely, ESC's words translated to ours.

`xml_document` reads XML (the only place that imports lxml), `vocabulary` holds ESC's words, `deployment_parser`,
`resource_parser` and `netconf_parser` read one payload family each, `parser` chooses between them and makes a
Notification of an Envelope, `parsed_callback` holds both. `body_readers` has large bodies read in processes of their
own. Must not know HTTP, SQL or NATS.
"""
