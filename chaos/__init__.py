"""A site that is broken on purpose while it works, and is judged afterwards: `script/chaos`.

Real parts (broker, database, Ceph, tgtd, bmid), publishers that send at random, nodes that write and verify, faults in
the order that a seed gives. What is promised, and how it is judged, is in docs/reliability.md.
"""
