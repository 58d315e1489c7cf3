// Follows what happens to VMs, and goes on where it was: NATS_URL=nats://nats.example:4222 node consumer.mjs
import { AckPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const url = new URL(process.env.NATS_URL ?? "nats://127.0.0.1:4222");
const nats = await connect({
  servers: url.host,
  ...(url.username && { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) }),
});
const manager = await jetstreamManager(nats);
await manager.consumers.add("ESC", {
  durable_name: "javascript",
  ack_policy: AckPolicy.Explicit,
  filter_subjects: ["esc.v1.vm.>"],
});
const consumer = await jetstream(nats).consumers.get("ESC", "javascript");
process.once("SIGTERM", () => nats.drain());

for await (const message of await consumer.consume()) {
  const event = message.json();
  console.log(message.headers.get("ce-id"), message.headers.get("ce-type"), `vm/${event.deployment}/${event.name}`);
  message.ack();
}
