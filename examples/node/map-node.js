// Has BMI map a node. Killed at any moment and started again, it gets one effect and the outcome.
// node map-node.js JOB-FILE PROJECT NODE IMAGE, with the broker in BMI_URL: amqp://USER:PASSWORD@HOST/bmi
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import amqp from "amqplib";

const ENDS = { "bmi.node.mapped.v1": 0, "bmi.operation.failed.v1": 1, "bmi.command.rejected.v1": 65 };
const [file, project, node, image] = process.argv.slice(2);

// The message, and with it its id, is in the file before anybody else can know of it.
if (!existsSync(file)) {
  const made = { specversion: "1.0", id: randomUUID(), source: "/example/node", type: "bmi.node.map.v1" };
  writeFileSync(`${file}.new`, JSON.stringify({ ...made, data: { project, node, image } }), { flush: true });
  renameSync(`${file}.new`, file);
}
const body = readFileSync(file);
const { id, type } = JSON.parse(body);

const connection = await amqp.connect(process.env.BMI_URL);
connection.on("close", () => process.exit(75)); // whoever runs this starts it again
const channel = await connection.createConfirmChannel();
const { queue } = await channel.assertQueue("", { exclusive: true });
for (const key of [`#.${project}`, "bmi.command.rejected.v1.-"]) await channel.bindQueue(queue, "bmi.events", key);

await channel.consume(queue, (message) => {
  const event = JSON.parse(message.content);
  if (event.causationid !== id) return;
  console.log(JSON.stringify({ type: event.type, ...event.data }));
  if (event.type in ENDS) process.exit(ENDS[event.type]);
}, { noAck: true });

// Sent at every start: a copy has no effect, and is answered with the events that were missed.
const properties = { userId: decodeURIComponent(new URL(process.env.BMI_URL).username), messageId: id, type };
const form = { contentType: "application/cloudevents+json", persistent: true, mandatory: true };
channel.publish("bmi.commands", type, body, { ...properties, ...form });
await channel.waitForConfirms();
