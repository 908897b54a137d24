"""The daemon of BMI: golden images in, booted physical machines out.

A newcomer reads: messages, handlers, steps, drivers; the store in the middle; amqp, http and scheduler at the
edges; bootstrap on top.
"""
