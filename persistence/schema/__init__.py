"""The tables.

| Module | What it does |
|---|---|
| tables | accounts, promos, activations, likes, comments |
| audit_tables | the append-only audit log |
| feed_tables | derived data for feeds |
| job_tables | background jobs of companies |
| key_tables | API keys of companies |
| reset_tables | passwords reset by mail |
| redemption_tables | redemptions of codes |
| lookup_tables | the promo of a code and of a redemption, on several servers |
| activity_tables | activity of promos by quarter of an hour |
| event_tables | events of companies |
| webhook_tables | webhooks of companies, and their deliveries |
| replica_tables | positions of writes, for reads from replicas |
| orders | sort orders of indexes and statements |
"""
