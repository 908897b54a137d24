"""Bootable disk images, made on the spot from Debian's packages, without mounts and loop devices.

`tiny` is a kernel and busybox in 56 MiB, `debian` a real Debian 12 with its root on iSCSI, `foreign` an image
that knows nothing of the other two. What boots them (nodes, targets, boot scripts) does not belong here.
"""
