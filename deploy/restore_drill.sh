#!/bin/sh
# Restores the newest backup of FOLDER into a scratch database, applies the migrations, recounts all stored counts, and
# drops the scratch database:
#
#   restore_drill.sh FOLDER
#
# The connection is that of libpq (PGHOST, PGPORT, PGUSER, PGPASSWORD) to the server of the scratch database, where the
# role needs CREATEDB. Prints one sentence; the exit status is 1 if the backup can't be restored, is wrong, or is older
# than BACKUP_MAX_AGE_H hours (48).
set -eu
umask 077
folder=$(cd "$1" && pwd) max_age_h=${BACKUP_MAX_AGE_H:-48}
# not configurable: it is dropped
scratch=promo_restore_drill
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
export PGDATABASE=postgres

sql() { psql --quiet --no-psqlrc --no-align --tuples-only --set ON_ERROR_STOP=1 "$@"; }
drop() { sql --command "DROP DATABASE IF EXISTS $scratch WITH (FORCE)" 2>/dev/null; }
fail() {
    echo "Restore drill failed: $1." >&2
    exit 1
}
# Not in the folder of the service, whose .env names the real database.
service() {
    (cd / && PYTHONPATH=$root PYTHONDONTWRITEBYTECODE=1 POSTGRES_DATABASE=$scratch \
        POSTGRES_HOST=${PGHOST:-/var/run/postgresql} POSTGRES_PORT=${PGPORT:-5432} \
        POSTGRES_USERNAME=${PGUSER:-$(id -un)} POSTGRES_PASSWORD=${PGPASSWORD:-} \
        ANTIFRAUD_ADDRESS=none SECRET_KEY=unused-but-required-to-have-32-characters "$python" -m promo_api "$@")
}

backup=$(find "$folder" -maxdepth 1 -name 'promo-*.dump' | sort | tail -n 1)
[ -n "$backup" ] || fail "$folder has no backup"
age_h=$((($(date +%s) - $(stat -c %Y "$backup")) / 3600))
[ "$age_h" -lt "$max_age_h" ] || fail "the newest backup, $backup, is $age_h hours old"

began=$(date +%s)
drop || fail "PostgreSQL is unavailable, or the role may not drop databases"
trap drop EXIT
sql --command "CREATE DATABASE $scratch ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0" ||
    fail "the database $scratch could not be created"
pg_restore --exit-on-error --no-owner --no-privileges --dbname="$scratch" "$backup" || fail "$backup can't be restored"
service migrate >/dev/null || fail "the schema of $backup can't be updated"
report=$(service check schema counts) || {
    echo "$report" >&2
    fail "the data of $backup are wrong"
}
counts=$(sql --dbname="$scratch" --field-separator=' ' --command \
    "SELECT (SELECT count(*) FROM companies) || ' companies, ' || (SELECT count(*) FROM users) || ' users, ' ||
        (SELECT count(*) FROM promos) || ' promos and ' || (SELECT count(*) FROM activations) || ' activations'")
echo "Restore drill succeeded: $backup, $age_h hours old, was restored and checked in $(($(date +%s) - began)) s. It has $counts."
