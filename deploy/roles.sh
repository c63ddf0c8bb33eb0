#!/bin/sh
# Creates the roles of the PostgreSQL in docker-compose.yml, or updates their passwords, as its superuser promo_admin.
# An init script of the image would run on an empty volume only; this runs at each start, also on older volumes.
# Needs PGHOST (the folder of the socket), POSTGRES_USERNAME and OWNER_USERNAME, POSTGRES_DATABASE,
# POSTGRES_PASSWORD_FILE and OWNER_PASSWORD_FILE.
set -eu
export PGUSER=promo_admin PGDATABASE=postgres
sql() { psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 "$@"; }

# On a volume of an earlier docker-compose.yml the role of the service is the superuser: it is renamed. A session cannot
# rename its own role, so a temporary superuser does it.
if ! sql --command 'SELECT' >/dev/null 2>&1; then
    PGUSER=$POSTGRES_USERNAME sql --command 'DROP ROLE IF EXISTS promo_rename'
    PGUSER=$POSTGRES_USERNAME sql --command 'CREATE ROLE promo_rename SUPERUSER LOGIN'
    echo 'ALTER ROLE :"superuser" RENAME TO promo_admin;' | PGUSER=promo_rename sql --set superuser="$POSTGRES_USERNAME"
fi
sql --set service="$POSTGRES_USERNAME" --set owner="$OWNER_USERNAME" --set database="$POSTGRES_DATABASE" \
    --file "${0%.sh}.sql"
