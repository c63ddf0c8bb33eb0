"""Promos as their companies see and change them: `promos`, the audit log `changes`, and `code_lists`, a cache of the
codes of UNIQUE promos.
"""
