"""The default corpus: files of Python's own standard library, which every installation has.

All of them are plain Python and stand at the same place in 3.11 to 3.14.  Left out are tables
(`html/entities.py`), what some systems package apart (`turtle`, `idlelib`, `ensurepip`), and
modules that became packages on the way (`pathlib`, `zipfile`, `string`, `sysconfig`).
"""

from __future__ import annotations

VALIDATION_FILES = (
    "contextlib.py", "heapq.py", "http/cookies.py", "json/decoder.py", "queue.py", "random.py",
    "shlex.py", "tempfile.py", "textwrap.py",
)  # fmt: skip
"""About five characters in a hundred: whole files, so that no line of them is ever trained on."""

TRAINING_FILES = (
    "_collections_abc.py", "_strptime.py", "_threading_local.py", "_weakrefset.py", "abc.py",
    "argparse.py", "ast.py", "asyncio/base_events.py", "asyncio/base_subprocess.py",
    "asyncio/events.py", "asyncio/futures.py", "asyncio/locks.py", "asyncio/protocols.py",
    "asyncio/queues.py", "asyncio/runners.py", "asyncio/staggered.py", "asyncio/streams.py",
    "asyncio/subprocess.py", "asyncio/taskgroups.py", "asyncio/tasks.py", "asyncio/timeouts.py",
    "asyncio/transports.py", "asyncio/unix_events.py", "base64.py", "bz2.py", "calendar.py",
    "cmd.py", "code.py", "codecs.py", "collections/__init__.py", "compileall.py",
    "concurrent/futures/_base.py", "concurrent/futures/process.py",
    "concurrent/futures/thread.py", "configparser.py", "copy.py", "copyreg.py", "csv.py",
    "dataclasses.py", "difflib.py", "dis.py", "email/_parseaddr.py", "email/_policybase.py",
    "email/feedparser.py", "email/generator.py", "email/header.py", "email/message.py",
    "email/policy.py", "email/utils.py", "enum.py", "filecmp.py", "fileinput.py", "fnmatch.py",
    "functools.py", "genericpath.py", "getopt.py", "glob.py", "graphlib.py", "gzip.py",
    "hashlib.py", "hmac.py", "html/parser.py", "http/__init__.py", "http/client.py",
    "importlib/util.py", "inspect.py", "json/__init__.py", "json/encoder.py", "linecache.py",
    "logging/__init__.py", "logging/config.py", "lzma.py", "multiprocessing/connection.py",
    "multiprocessing/context.py", "multiprocessing/pool.py", "multiprocessing/process.py",
    "multiprocessing/queues.py", "multiprocessing/synchronize.py", "multiprocessing/util.py",
    "operator.py", "os.py", "pickle.py", "pkgutil.py", "posixpath.py", "pprint.py",
    "re/__init__.py", "re/_compiler.py", "reprlib.py", "rlcompleter.py", "runpy.py", "sched.py",
    "selectors.py", "shelve.py", "shutil.py", "socket.py", "socketserver.py", "subprocess.py",
    "threading.py", "timeit.py", "tokenize.py", "tomllib/_parser.py", "traceback.py",
    "types.py", "typing.py", "unittest/async_case.py", "unittest/case.py", "unittest/loader.py",
    "unittest/main.py", "unittest/result.py", "unittest/runner.py", "unittest/suite.py",
    "urllib/parse.py", "urllib/robotparser.py", "weakref.py", "wsgiref/handlers.py",
    "wsgiref/headers.py", "xml/etree/ElementTree.py", "xml/sax/saxutils.py",
)  # fmt: skip
"""What the default model learns from."""
