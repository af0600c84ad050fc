"""Clients that none of us wrote, in processes of their own: tritonclient and perf_analyzer.

Of their own, because tritonclient registers the same protobuf symbols as rnnserve's stubs do, and
wants another protobuf. `make peers` installs them below `.peers/`; a test that uses one which
isn't there is skipped with the reason.
"""
