"""The hot path: sessions, slots, batches, runs. Knows neither gRPC, protobuf nor files.

Everything here is plain and synchronous but for `ticker.py`, the one place that awaits.
"""
