#!/bin/sh
# Makes the role that Grafana reads with. It may log in and nothing else: migration 0007 grants it the views.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$GRAFANA_POSTGRES_PASSWORD" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE esc_grafana LOGIN PASSWORD :'password' CONNECTION LIMIT 10;
ALTER ROLE esc_grafana SET statement_timeout = '30s';
SQL
