"""Has BMI map a node. Killed at any moment and started again, it gets one effect and the outcome.

python map_node.py JOB-FILE PROJECT NODE IMAGE, with the broker in BMI_URL: amqp://USER:PASSWORD@HOST/bmi
"""

import json
import os
import sys
import uuid
from pathlib import Path

import pika

ENDS = {"bmi.node.mapped.v1": 0, "bmi.operation.failed.v1": 1, "bmi.command.rejected.v1": 65}
file, (project, node, image) = Path(sys.argv[1]), sys.argv[2:]

# The message, and with it its id, is in the file before anybody else can know of it.
if not file.exists():
    made = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/example/python", "type": "bmi.node.map.v1"}
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text(json.dumps({**made, "data": {"project": project, "node": node, "image": image}}))
    fresh.replace(file)
body = file.read_bytes()
command = json.loads(body)

parameters = pika.URLParameters(os.environ["BMI_URL"])
channel = pika.BlockingConnection(parameters).channel()
queue = channel.queue_declare("", exclusive=True).method.queue
for key in (f"#.{project}", "bmi.command.rejected.v1.-"):
    channel.queue_bind(queue, "bmi.events", key)

# Sent at every start: a copy has no effect, and is answered with the events that were missed.
properties = pika.BasicProperties(
    content_type="application/cloudevents+json",
    delivery_mode=pika.DeliveryMode.Persistent,
    message_id=command["id"],
    type=command["type"],
    user_id=parameters.credentials.username,
)
channel.confirm_delivery()
channel.basic_publish("bmi.commands", command["type"], body, properties, mandatory=True)

for _, _, content in channel.consume(queue, auto_ack=True):
    event = json.loads(content)
    if event.get("causationid") == command["id"]:
        print(json.dumps({"type": event["type"], **event["data"]}), flush=True)
        if event["type"] in ENDS:
            sys.exit(ENDS[event["type"]])
