// A voltmeter on topic "volts", as one part of a dispatcher over NATS; leaves when stdin ends.
//     node producer.mjs nats://127.0.0.1:4222 NAMESPACE NAME
import { connect } from "@nats-io/transport-node";
const [servers, namespace, me] = process.argv.slice(2);
const METER = 1, RAILS = { "3V3": 3.31, "5V": 5.02 };
async function measure(rail, { ms = 0 }) {
  await new Promise((done) => setTimeout(done, ms));
  if (!(rail in RAILS)) throw new RangeError(`no rail ${rail}`);
  return { rail, volts: RAILS[rail] };
}

const nc = await connect({ servers, noEcho: true, maxReconnectAttempts: -1 });
const base = `ate1.${namespace}`, life = crypto.randomUUID();
const parts = new Map(), open = new Map(), now = () => performance.now() / 1000;
const send = (where, notice, frame) => nc.isDraining() || nc.publish(
  `${base}.${where}.${me}`, JSON.stringify(frame), { reply: `${base}.n.${me}.${notice}` });
const to = (part, ...frame) => send(`p.${part}`, part, frame);
const all = (...frame) => send("all", "all.-", frame);
const here = (why) => ["here", why, life, 1, 0, { volts: [METER] }, { [METER]: "meter" }, [],
  { codecs: ["json"], version: "1" }];
let turn = Promise.resolve(); // One measurement after the other.
const takes = { __proto__: null,
  here(from, why, life) { // The clock of another life is another clock.
    if (parts.get(from)?.life !== life) parts.set(from, { life, least: Infinity });
    if (why === "new") to(from, ...here("you"));
  },
  beat(from, life) { if (parts.get(from)?.life !== life) to(from, ...here("new")); },
  ask(from, id, ttl, sent, topic, members, args, kwargs) {
    const part = parts.get(from), since = now(), key = `${from} ${id}`;
    part.least = Math.min(part.least, since - sent);
    const until = ttl === null ? Infinity : ttl / 1000 + sent + part.least;
    open.set(key, ["skip", id, METER]); // What it is told if it has not begun by then.
    turn = turn.then(async () => {
      const began = now(), skipped = open.get(key);
      const says = (kind, ...more) =>
        to(from, kind, id, METER, (began - since) * 1e3, (now() - began) * 1e3, ...more);
      open.delete(key);
      if (skipped[0] !== "skip" || began >= until) return to(from, ...skipped);
      await measure(...args, kwargs)
        .then((value) => now() < until ? says("ans", value) : says("late"))
        .catch(({ name, message, stack }) => says("err", name, message, stack.slice(-4096)));
    });
  },
  can(from, id, members) {
    const end = ["end", id, [[METER, "cancelled", null]]], key = `${from} ${id}`;
    if (open.has(key)) open.set(key, members ? ["not", id, METER, "withdrawn"] : end);
  },
};
function heard(_, msg) {
  for (const line of msg.string().split("\n")) try {
    const [kind, ...fields] = JSON.parse(line);
    takes[kind]?.(msg.subject.split(".").pop(), ...fields);
  } catch (error) { console.error(line, error); } // It would end the reading of nats.js.
}
for (const each of [`p.${me}.*`, "all.*"]) nc.subscribe(`${base}.${each}`, { callback: heard });
all(...here("new"));
setInterval(() => all("beat", life, 1, 0, now()), 1000);
process.stdin.resume().on("end", () => { all("bye", life); nc.drain().then(process.exit); });
for await (const { type } of nc.status()) if (type === "reconnect") all(...here("new"));
