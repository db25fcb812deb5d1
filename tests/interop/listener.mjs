// Prints what it hears on topic "volts" and on all that begin with "site."; until stdin ends.
//     node listener.mjs nats://127.0.0.1:4222 NAMESPACE NAME
import { connect } from "@nats-io/transport-node";
const [servers, namespace, me] = process.argv.slice(2);
const print = (...what) => console.log(JSON.stringify(what));
const nc = await connect({ servers, noEcho: true, maxReconnectAttempts: -1 });
const base = `ate1.${namespace}`, life = crypto.randomUUID(), parts = new Map();
const send = (where, notice, frame) => nc.publish(
  `${base}.${where}.${me}`, JSON.stringify(frame), { reply: `${base}.n.${me}.${notice}` });
const to = (part, ...frame) => send(`p.${part}`, part, frame);
const all = (...frame) => send("all", "all.-", frame);
const here = (why) => ["here", why, life, 1, 0, {}, {}, ["volts"],
  { codecs: ["json"], version: "1", hears: ["site.>"] }];
function handOn(from, part) { // All that is there without a gap.
  for (; part.held.has(part.seq + 1); part.held.delete(part.seq)) {
    const [topic, value, request] = part.held.get(++part.seq);
    if (topic === "volts" || topic.startsWith("site.")) print(from, topic, value, request);
  }
}
const takes = { __proto__: null,
  here(from, why, life, epoch, seq) { // What it has sent before is not for us.
    const fresh = { life, seq, told: seq, held: new Map() };
    if (parts.get(from)?.life !== life) parts.set(from, fresh);
    if (why === "new") to(from, ...here("you"));
    takes.beat(from, life, epoch, seq);
  },
  beat(from, life, epoch, seq) {
    const part = parts.get(from);
    part?.life === life ? part.told = Math.max(part.told, seq) : to(from, ...here("new"));
  },
  res(from, seq, ...what) {
    const part = parts.get(from);
    if (!part || seq <= part.seq) return;
    part.told = Math.max(part.told, seq);
    handOn(from, part, part.held.set(seq, what));
  },
  lost(from, first, last) {
    const part = parts.get(from);
    if (part && first <= part.seq + 1) part.seq = Math.max(part.seq, last);
    handOn(from, part, print("lost", from, first, last));
  },
};
function heard(_, msg) {
  const tokens = msg.subject.split("."), from = tokens[2] === "p" ? tokens[4] : tokens[3];
  for (const line of msg.string().split("\n")) try {
    const [kind, ...fields] = JSON.parse(line);
    takes[kind]?.(from, ...fields);
  } catch (error) { console.error(line, error); } // It would end the reading of nats.js.
}
for (const each of [`p.${me}.*`, "all.*", "r.>"])
  nc.subscribe(`${base}.${each}`, { callback: heard });
all(...here("new"));
setInterval(() => all("beat", life, 1, 0, performance.now() / 1000), 1000);
setInterval(() => { // What is missing is asked for.
  for (const [from, { seq, told, held }] of parts)
    if (told > seq) to(from, "again", seq + 1, Math.min(...held.keys(), told + 1) - 1);
}, 50);
process.stdin.resume().on("end", () => { all("bye", life); nc.drain().then(process.exit); });
for await (const { type } of nc.status()) if (type === "reconnect") all(...here("new"));
