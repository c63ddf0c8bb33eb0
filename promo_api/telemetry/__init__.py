"""Logs and metrics.

| Module | What it does |
|---|---|
| logs | structured log lines |
| log_stream | writes lines without blocking requests |
| requests | instruments requests: id, duration, status |
| request_log | the log line of each request |
| metrics | all metrics and their functions |
| webhook_metrics | the metrics of requests to webhooks |
| replica_metrics | the metric of reads from replicas |
| process | the memory of the process |
| metrics_server | serves the metrics of all workers |
"""
