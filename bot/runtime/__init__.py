"""All contact with what Rasa 3.6 does not promise: its server, its stores, what of it is replaced.

What is replaced in Rasa and Sanic, and what is lost without it (benchmarks/load/README.md):

* ``bot.runtime.rasa_patches``: ``RemoteAction``, ``Event``, ``DaskGraphRunner``,
  ``DialogueStateTracker``, ``MessageProcessor``, ``EndpointConfig``; a turn of 42 ms instead of 6.
* ``bot.runtime.rasa_cli``: time limit and address of the action server; no ``ACTION_TIMEOUT`` and
  ``ACTIONS_PORT``.
* ``bot.runtime.rasa_server``: the menus of ``rasa shell``; Ctrl-C there leaves a server behind.
* ``bot.runtime.instrumentation``: the methods that a turn goes through, and how logs are set up;
  no spans, no metrics, no logs as JSON.
* ``common.http_guard``: ``HttpProtocol``, of both servers; malformed requests and slow bodies.

``bot.runtime.tensorflow_stub`` stands in for a package instead: a start of twice the time, 800 MB
of memory instead of 370.
"""
