"""What BMI speaks of, as values: names, projects, images, nodes, disks, networks, operations.

Pure: nothing in here does I/O, reads a clock or knows a library that does.
"""
