-- The rights of the service's role: it changes rows, owns nothing, and cannot backdate or change the audit log.
-- Run it after each `migrate`, as the owner of the database or as a superuser; it can be run again at any time:
--
--   psql -d promo -v service=promo < deploy/grants.sql
\set ON_ERROR_STOP on
SELECT pg_get_userbyid(datdba) AS owner, pg_get_userbyid(datdba) = :'service' AS service_is_owner
FROM pg_database WHERE datname = current_database() \gset
\if :service_is_owner
  \warn The role of the service owns the database: its rights are not restricted.
  \quit
\endif

BEGIN;
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC, :"service";
REVOKE ALL ON SCHEMA public FROM PUBLIC, :"service";
GRANT CONNECT ON DATABASE :"DBNAME" TO :"service";
GRANT USAGE ON SCHEMA public TO :"service";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :"service";
-- Tables that a later migration creates, until this file is run again.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"service";
REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM :"service";
-- The audit log: INSERT only, and only the columns without a default. PostgreSQL sets `changed_at`, `happened_at` and `id`.
-- The functions that move events run with the rights of the owner.
REVOKE INSERT, UPDATE, DELETE ON promo_changes, account_log FROM :"service";
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') AS has_citus \gset
\if :has_citus
  -- Citus does not send rights on columns to the other servers.
  GRANT INSERT ON promo_changes, account_log TO :"service";
\else
  GRANT INSERT (promo_id, number, company_id, event, changes, comment_id) ON promo_changes TO :"service";
  GRANT INSERT (account_id, event, members, key_id, webhook_id) ON account_log TO :"service";
\endif
-- For processes of the version before. `distribute` drops the table.
SELECT to_regclass('account_events') IS NOT NULL AS has_account_events \gset
\if :has_account_events
  REVOKE INSERT, UPDATE, DELETE ON account_events FROM :"service";
  GRANT INSERT (company_id, user_id, event, members, key_id, webhook_id) ON account_events TO :"service";
\endif
COMMIT;
