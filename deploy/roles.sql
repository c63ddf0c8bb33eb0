-- Run by roles.sh. The passwords are not on the command line, which `ps` shows.
\set service_password `cat "$POSTGRES_PASSWORD_FILE"`
\set owner_password `cat "$OWNER_PASSWORD_FILE"`
SET client_min_messages = warning;
-- The log must not repeat the passwords, not even after an error.
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
DROP ROLE IF EXISTS promo_rename;
-- The superuser has no password, so it connects only through the socket, which no other container sees.
ALTER ROLE promo_admin PASSWORD NULL;

SELECT format('CREATE ROLE %I', name) FROM unnest(ARRAY[:'service', :'owner']) AS name
WHERE name NOT IN (SELECT rolname FROM pg_roles) \gexec
ALTER ROLE :"service" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'service_password';
ALTER ROLE :"owner" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'owner_password';

ALTER DATABASE :"database" OWNER TO :"owner";
\connect :"database"
-- REASSIGN OWNED refuses the superuser that initdb made, who owns everything on an older volume.
SELECT format('ALTER TABLE %s OWNER TO %I', oid::regclass, :'owner') FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND pg_get_userbyid(relowner) = 'promo_admin' \gexec
SELECT format('ALTER ROUTINE %s OWNER TO %I', oid::regprocedure, :'owner') FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND pg_get_userbyid(proowner) = 'promo_admin' \gexec
