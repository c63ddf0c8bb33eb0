#!/bin/sh
# Backs up the database into FOLDER, and keeps the newest BACKUP_KEEP backups (14):
#
#   backup.sh FOLDER
#
# The connection is that of libpq: PGDATABASE, PGHOST, PGUSER, and a password in ~/.pgpass, never on the command line.
# A backup is complete or missing: it is written under another name, read back, and then renamed. Older backups are only
# deleted after a new one succeeded. Prints one sentence; the exit status is 1 if there is no new backup.
set -eu
umask 077
folder=$1 keep=${BACKUP_KEEP:-14} database=${PGDATABASE:-promo}

fail() {
    rm -f "$partial"
    echo "Backup failed: $1. The older backups are unchanged." >&2
    exit 1
}

case $keep in
    '' | *[!0-9]* | 0) echo "BACKUP_KEEP must be a number from 1." >&2; exit 2 ;;
esac
exec 9< "$folder"
flock --nonblock 9 || { echo "Backup failed: another backup to $folder is running." >&2; exit 1; }
# left behind by a killed backup
rm -f "$folder"/promo-*.partial
name=promo-$(date -u +%Y%m%dT%H%M%SZ).dump
partial=$folder/$name.partial

pg_dump --format=custom --file="$partial" "$database" || fail "pg_dump could not write $partial"
# reads it whole: --list would read the table of contents only
pg_restore --file=/dev/null "$partial" || fail "$partial can't be read back"
mv "$partial" "$folder/$name"

# The names sort by time.
deleted=0
for old in $(find "$folder" -maxdepth 1 -name 'promo-*.dump' -printf '%f\n' | sort -r | tail -n "+$((keep + 1))"); do
    rm -f "$folder/$old"
    deleted=$((deleted + 1))
done
echo "Backup $folder/$name written: $(stat -c %s "$folder/$name") bytes. $deleted old backups deleted."
