"""Grafana boards as code: `parts` holds the kinds of panels, each board is a file.

`python -m tools.dashboards` writes them.

Their JSON is committed in `dashboards/boards/`, Prometheus's rules (made of `dashboards/mixin/`) in
`dashboards/alerts/`, their tests in `dashboards/tests/`, what the programs of the compose stack read in
`dashboards/provisioning/`.
"""
