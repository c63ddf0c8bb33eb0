"""`distribute`, `migrate` and `check` on a cluster."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic.config import Config

from persistence import migrations
from persistence.database.engine import Database
from persistence.database.revisions import newest_revision
from persistence.promos.code_search import find_codes
from persistence.redemptions import find_redemption
from promo_api.config.settings import Settings
from tests.e2e.citus.cluster import Cluster, Node
from tests.e2e.server import run_command

_GRANTS = (Path(__file__).parents[3] / "deploy" / "grants.sql").read_text(encoding="utf-8")
_LATER = """
from alembic import op

revision = "9999"
down_revision = "{newest}"


def upgrade() -> None:
    op.execute("ALTER TABLE promos ADD COLUMN later integer NOT NULL DEFAULT 1")
    op.execute("CREATE INDEX promos_later ON promos (later)")
    op.execute("UPDATE promos SET later = 2")
    op.execute("CREATE FUNCTION count_later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    op.execute("CREATE TRIGGER count_later BEFORE UPDATE ON promos FOR EACH ROW EXECUTE FUNCTION count_later()")
    op.execute("CREATE TABLE later (promo_id uuid PRIMARY KEY)")


def downgrade() -> None:
    op.execute("DROP TABLE later")
    op.execute("DROP TRIGGER count_later ON promos")
    op.execute("DROP FUNCTION count_later")
    op.execute("ALTER TABLE promos DROP COLUMN later")
"""

_ROWS = """
    INSERT INTO companies (id, name, email, email_key, password_hash)
    VALUES ('{company}', 'Company', 'a@b.example', 'a@b.example', 'hash');
    INSERT INTO promos (id, company_id, mode, description, category_keys, promo_unique, promo_common)
    VALUES ('{unique}', '{company}', 'UNIQUE', 'A promo', ARRAY[]::text[], '["BEAN-1", "sale"]', NULL),
        ('{common}', '{company}', 'COMMON', 'A promo', ARRAY[]::text[], NULL, 'SALE');
    INSERT INTO promo_counters (promo_id, use_limit) VALUES ('{unique}', 2), ('{common}', 2);
    INSERT INTO promo_codes (promo_id, position, value) VALUES ('{unique}', 1, 'BEAN-1'), ('{unique}', 2, 'sale');
    INSERT INTO redemptions (promo_id, id, company_id, state, held_until, created_at)
    VALUES ('{common}', '{redemption}', '{company}', 'held', now(), now())
"""


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[dict[str, str]]:
    """The settings of a database of the cluster without tables."""
    with cluster.create_database("empty"):
        yield cluster.variables(cluster.coordinator) | {"POSTGRES_DATABASE": "empty"}


def test_distribute(empty: dict[str, str], tmp_path: Path) -> None:
    """The command needs the schema and that the service is stopped. It prints each step, and can be run again."""
    early = run_command(empty, "distribute", folder=tmp_path)
    assert (early.returncode, early.stdout) == (1, "")
    assert early.stderr.startswith("Nothing was changed. The schema is at None, not at ")
    assert run_command(empty, "migrate", folder=tmp_path).returncode == 0
    before = run_command(empty, "check", "cluster", folder=tmp_path)
    assert (before.returncode, "WARN  cluster        These tables are not distributed: " in before.stdout) == (0, True)
    with psycopg.connect(
        host=empty["POSTGRES_HOST"], port=empty["POSTGRES_PORT"], user=empty["POSTGRES_USERNAME"], dbname="empty",
        application_name="promo-api",
    ):  # fmt: skip
        refused = run_command(empty, "distribute", folder=tmp_path)
    assert (refused.returncode, refused.stderr) == (
        1,
        "Nothing was changed. The service has 1 open connections to the database. Stop all its processes first.\n",
    )
    lines = []
    for _ in range(2):
        done = run_command(empty, "distribute", folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        lines.append(done.stdout.splitlines())
    assert "The table promos is distributed by id." in lines[0]
    assert lines[1] == [
        "The functions are on all servers.",
        "A statement waits for a lock for at most 3 s on each server.",
        "All tables are distributed. Start the service.",
    ]
    after = run_command(empty, "check", "cluster", "counts", folder=tmp_path)
    assert after.returncode == 0
    assert "ok    cluster        All tables are distributed. The servers have all shards: " in after.stdout


def test_earlier_data(empty: dict[str, str], cluster: Cluster, tmp_path: Path) -> None:
    """Codes and redemptions from before the distribution are found without their promo."""
    assert run_command(empty, "migrate", folder=tmp_path).returncode == 0
    ids = {name: uuid4() for name in ("company", "unique", "common", "redemption")}
    cluster.coordinator.run(_ROWS.format(**ids), database="empty")
    assert run_command(empty, "distribute", folder=tmp_path).returncode == 0
    with closing(Database(Settings.from_environment(empty))) as database, database.autocommit() as connection:
        found = {
            code: {each.promo_id for each in find_codes(connection, ids["company"], code, None)}
            for code in ("bean1", "bean-1", "Sale")
        }
        redemption = find_redemption(connection, ids["company"], ids["redemption"])
    assert found == {"bean1": set(), "bean-1": {ids["unique"]}, "Sale": {ids["unique"], ids["common"]}}
    assert (redemption and redemption.promo_id, redemption and redemption.code) == (ids["common"], "SALE")


def test_role_of_its_own(empty: dict[str, str], cluster: Cluster, tmp_path: Path) -> None:
    """The rights of grants.sql are the same on all servers: a role adds entries to the audit log and changes none."""
    for command in ("migrate", "distribute"):
        assert run_command(empty, command, folder=tmp_path).returncode == 0
    cluster.coordinator.run("CREATE ROLE service LOGIN", database="empty")
    psql = [Node._program("psql"), "-h", empty["POSTGRES_HOST"], "-p", empty["POSTGRES_PORT"], "-U", "postgres"]
    done = subprocess.run(
        [*psql, "-d", "empty", "-v", "service=service"], input=_GRANTS, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    rights = [
        "SELECT result FROM run_command_on_shards(%s, $$SELECT array_agg(privilege)"
        " FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege"
        " WHERE has_table_privilege('service', '%s', privilege)$$)".replace("%s", f"'{table}'", 1)
        for table in ("likes", "account_log", "promo_changes")
    ]
    found = [{row for (row,) in cluster.coordinator.run(query, database="empty")} for query in rights]
    assert found == [{"{SELECT,INSERT,UPDATE,DELETE}"}, {"{SELECT,INSERT}"}, {"{SELECT,INSERT}"}]


def test_lost_shard(cluster: Cluster, empty: dict[str, str], tmp_path: Path) -> None:
    """`check` names a server that has lost shards, or that does not respond."""
    for command in ("migrate", "distribute"):
        assert run_command(empty, command, folder=tmp_path).returncode == 0
    worker = cluster.workers[0]
    name = f"127.0.0.1:{worker.port}"
    [(shard,)] = cluster.coordinator.run(
        "SELECT min(shardid) FROM citus_shards WHERE table_name = 'likes'::regclass AND nodeport = %s",
        values=(worker.port,), database="empty",
    )  # fmt: skip
    worker.run("SET citus.enable_manual_changes_to_shards = on", f"DROP TABLE likes_{shard}", database="empty")
    lost = run_command(empty, "check", "cluster", folder=tmp_path)
    assert (lost.returncode, f"Shards of likes that {name} does not serve: 1." in lost.stdout) == (1, True)
    worker.kill()
    down = run_command(empty, "check", "cluster", folder=tmp_path)
    assert (down.returncode, f"cannot connect to {name}." in down.stdout) == (1, True)


def test_migrate_at_a_worker(cluster: Cluster, tmp_path: Path) -> None:
    """A worker refuses to migrate, because the other servers would not get the tables."""
    refused = run_command(cluster.variables(cluster.workers[0]), "migrate", folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "The migrations could not be applied, and nothing was changed: this server is a worker of a Citus cluster."
        " Connect to the coordinator.\n"
    )


def test_later_migration(
    empty: dict[str, str], cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the distribution a migration changes tables, rows and triggers on all servers."""
    for command in ("migrate", "distribute"):
        assert run_command(empty, command, folder=tmp_path).returncode == 0
    (tmp_path / "9999_later.py").write_text(_LATER.format(newest=newest_revision()), encoding="utf-8")
    make_config: Callable[[], Config] = migrations._config

    def make_later_config() -> Config:
        config = make_config()
        versions = Path(migrations.__file__).with_name("versions")
        config.set_main_option("version_path_separator", "os")
        config.set_main_option("version_locations", f"{versions}:{tmp_path}")
        return config

    monkeypatch.setattr(migrations, "_config", make_later_config)
    with closing(Database(Settings.from_environment(empty))) as database:
        migrations.update_schema(database.engine)
    columns = "SELECT success FROM run_command_on_shards('promos', 'SELECT count(later) FROM %s')"
    assert {row for (row,) in cluster.coordinator.run(columns, database="empty")} == {True}
    triggers = (
        "SELECT result FROM run_command_on_shards('promos', $$SELECT count(*) FROM pg_trigger"
        " WHERE tgrelid = '%s'::regclass AND tgname LIKE 'count_later%%'$$)"
    )
    assert {row for (row,) in cluster.coordinator.run(triggers, database="empty")} == {"1"}
