"""The bus: the only home of pika in the daemon. Messages come in, are handed on, and events go out.

No message is understood here, and nothing is stored: what is received goes to a Receiver or an Answerer, what is
published comes from an OutboxSource (`port`). Consumer, responder, relay and pinger each have one connection of
their own and belong to one thread; `run_once(timeout)` works for at most about `timeout` seconds and returns how
many seconds to wait before the next call (0: none).
"""
