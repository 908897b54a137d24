"""The vocabulary that plans are written in: idempotent steps, each with a way there and a way back.

A step looks before it acts, never sleeps, and calls only the ports. What a plan consists of, the handlers decide;
how it is carried out, the engine.
"""
