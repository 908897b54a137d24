"""What the lab's services promise: they really work, and they end without a trace, whoever stops them."""

from __future__ import annotations

from pathlib import Path

import pika
import psycopg
import pytest
import rados
import rbd

from lab.ceph import Ceph
from lab.postgresql import PostgreSQL
from lab.process import LabError, free_port, wait_for
from lab.rabbitmq import RabbitMQ
from lab.tgtd import Tgtd
from tests.support.storage_bed import pool_of


def test_a_confirmed_message_on_a_quorum_queue_comes_back(rabbitmq: RabbitMQ) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url("alice"))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("lab-test", durable=True, arguments={"x-queue-type": "quorum"})
        channel.basic_publish("", "lab-test", b"hello", pika.BasicProperties(user_id="alice"), mandatory=True)
        wait_for(lambda: channel.basic_get("lab-test", auto_ack=True)[2] == b"hello", 30, "the message")
        channel.queue_delete("lab-test")


def test_the_broker_refuses_a_message_in_another_users_name(rabbitmq: RabbitMQ) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url("alice"))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            channel.basic_publish("", "anything", b"hello", pika.BasicProperties(user_id="bob"))


def test_only_the_named_users_connections_are_closed(rabbitmq: RabbitMQ) -> None:
    alice = pika.BlockingConnection(pika.URLParameters(rabbitmq.url("alice")))
    bob = pika.BlockingConnection(pika.URLParameters(rabbitmq.url("bob")))
    rabbitmq.close_connections("alice")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker):
        alice.process_data_events(30)
    bob.process_data_events(0)
    assert bob.is_open
    bob.close()


def test_an_image_can_be_made_snapped_and_cloned_and_survives_a_killed_osd(ceph: Ceph) -> None:
    with pool_of(ceph) as ioctx:
        rbd.RBD().create(ioctx, "golden", 1 << 30)
        with rbd.Image(ioctx, "golden") as image:
            image.write(b"gold", 4096)
            image.create_snap("s")
        rbd.RBD().clone(ioctx, "golden", "s", ioctx, "copy")
    ceph.restart_osd()
    with pool_of(ceph) as ioctx:
        with rbd.Image(ioctx, "copy") as image:
            assert image.read(4096, 4) == b"gold"
        rbd.RBD().remove(ioctx, "copy")
        with rbd.Image(ioctx, "golden") as image:
            image.remove_snap("s")
        rbd.RBD().remove(ioctx, "golden")


def test_the_user_reaches_its_pools_and_no_other(ceph: Ceph) -> None:
    with ceph.admin() as administrator:
        administrator.make_pool("foreign", 8)
        handle = rados.Rados(conffile=str(ceph.conf), rados_id=ceph.user)
        with handle as cluster, cluster.open_ioctx("foreign") as ioctx, pytest.raises(rados.PermissionError):
            ioctx.write_full("x", b"")
        sure = {"pool": "foreign", "pool2": "foreign", "yes_i_really_really_mean_it": True}
        administrator.command("osd pool delete", **sure)
    ceph.extra_pool("second")
    with rados.Rados(conffile=str(ceph.conf), rados_id=ceph.user) as cluster, cluster.open_ioctx("second") as ioctx:
        ioctx.write_full("x", b"y")
        assert ioctx.read("x") == b"y"


def test_a_frozen_osd_times_out_for_clients_and_works_again_when_thawed(ceph: Ceph) -> None:
    hurried = {"rados_osd_op_timeout": "3"}
    handle = rados.Rados(conffile=str(ceph.conf), rados_id=ceph.user, conf=hurried)
    with handle as cluster, cluster.open_ioctx(ceph.pool) as ioctx:
        ceph.freeze()
        try:
            with pytest.raises(rados.TimedOut):
                ioctx.write_full("frozen", b"")
        finally:
            ceph.thaw()
        ceph.wait_usable()
        ioctx.write_full("frozen", b"")
        ioctx.remove_object("frozen")


def test_tgtds_configuration_neither_caches_nor_gives_up(ceph: Ceph) -> None:
    assert "rbd_cache = false" in ceph.tgt_conf.read_text()
    assert "timeout" not in ceph.tgt_conf.read_text()
    assert "rados_osd_op_timeout" in ceph.conf.read_text()


def test_a_committed_row_survives_a_killed_database_server(postgresql: PostgreSQL) -> None:
    url = postgresql.create_database("lab_test").replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
    postgresql.restart()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT n FROM t").fetchone() == (1,)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
    postgresql.drop_database("lab_test")


def test_tgtd_answers_and_comes_back_after_a_kill_on_the_same_socket(tgtd: Tgtd) -> None:
    tgtd.tgtadm("--op", "new", "--mode", "target", "--tid", "1", "-T", "iqn.2026-01.lab:t")
    assert "iqn.2026-01.lab:t" in tgtd.tgtadm("--op", "show", "--mode", "target")
    tgtd.kill()
    tgtd.start()
    assert tgtd.tgtadm("--op", "show", "--mode", "target").strip() == ""


def test_tgtd_with_its_portal_taken_says_so(tgtd: Tgtd, tmp_path: Path) -> None:
    ip, port = tgtd.portal.split(":")
    second = Tgtd(tmp_path / "second", ip, int(port), control_port=1)
    try:
        with pytest.raises(LabError, match=port):
            second.start()
    finally:
        second.stop()


def test_tgtd_runs_in_a_folder_too_deep_for_a_socket(tmp_path: Path) -> None:
    deep = Tgtd(tmp_path / ("d" * 120), portal_port=free_port())
    try:
        deep.start()
        assert len(str(deep.socket)) < 100
    finally:
        deep.stop()
    assert not deep.socket.parent.exists()
