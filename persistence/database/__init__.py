"""The database as a server: `engine` opens connections and translates errors, `statements` runs SQL, `revisions` finds
the schema version, `server` reads the state of a server and of a session.
"""
