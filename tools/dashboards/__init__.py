"""Grafana boards as code: `parts` holds the kinds of panels, each board is a file.

`python -m tools.dashboards` writes them.

Their JSON is committed in `dashboards/boards/`, rules and their tests lie in `dashboards/alerts/`, what Grafana and
Prometheus of the compose stack read in `dashboards/provisioning/`.
"""
