"""Password resets, and the outbox of their mails.

They belong to the accounts: the key begins with the account, and there is no foreign key to companies or users. Lock
order: the account before its reset.
"""

from sqlalchemy import CheckConstraint, Column, DateTime, Index, Integer, LargeBinary, Table, Text, Uuid, func

from persistence.schema.tables import metadata

# One per account: a new request replaces the token and the mail of the earlier one. Requests for unknown e-mail
# addresses have a row too, with a random-looking id, so that they take the same time.
password_resets = Table(
    "password_resets",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    # SHA-256 of the token. The token is derived from SECRET_KEY and the nonce, so this table does not contain it.
    Column("digest", LargeBinary, nullable=False),
    Column("nonce", LargeBinary),  # NULL: the mail is not sent any more
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    # When to send the mail. A process that sends it moves this time forward, as a lease. NULL: never.
    Column("mail_due_at", DateTime(timezone=True)),
    Column("mail_attempts", Integer, nullable=False, server_default="0"),
    CheckConstraint("kind IN ('company', 'user')", name="known_kind"),
    CheckConstraint("(nonce IS NULL) = (mail_due_at IS NULL)", name="mail"),
)
Index("password_resets_due", password_resets.c.mail_due_at, postgresql_where=password_resets.c.mail_due_at.is_not(None))
Index("password_resets_expiry", password_resets.c.expires_at)
