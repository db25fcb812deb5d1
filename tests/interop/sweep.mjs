// A source on topic "sweep", as one part of a dispatcher over NATS: says how far it is, gives each
// value when it has it, and stops when nobody waits for more; leaves when stdin ends.
//     node sweep.mjs nats://127.0.0.1:4222 NAMESPACE NAME
import { connect } from "@nats-io/transport-node";
const [servers, namespace, me] = process.argv.slice(2);
const SOURCE = 1, MOST = 60;
async function* sweep(first, last, steps, { ms = 0 }) {
  for (let step = 0; step < steps; step++) {
    await new Promise((done) => setTimeout(done, ms));
    const volts = first + (last - first) * step / Math.max(1, steps - 1);
    if (volts > MOST) throw new RangeError(`${volts} V is too much`);
    yield [volts, (step + 1) / steps];
  }
}

const nc = await connect({ servers, noEcho: true, maxReconnectAttempts: -1 });
const base = `ate1.${namespace}`, life = crypto.randomUUID(), now = () => performance.now() / 1000;
const parts = new Map(), open = new Map(); // Who is there, and whom it sweeps for.
const send = (where, notice, frame) => nc.isDraining() || nc.publish(
  `${base}.${where}.${me}`, JSON.stringify(frame), { reply: `${base}.n.${me}.${notice}` });
const to = (part, ...frame) => send(`p.${part}`, part, frame);
const all = (...frame) => send("all", "all.-", frame);
const here = (why) => ["here", why, life, 1, 0, { sweep: [SOURCE] }, { [SOURCE]: "source" }, [],
  { codecs: ["json"], version: "1" }];
const forget = (part) => open.forEach((from, key) => from === part && open.delete(key));
async function serve(from, id, key, until, args, kwargs) {
  const began = now(), isOver = () => !open.has(key) || now() >= until;
  const says = (kind, ...more) => to(from, kind, id, SOURCE, 0, (now() - began) * 1e3, ...more);
  let last = ["fin"];
  try {
    for await (const [volts, fraction] of sweep(...args, kwargs)) {
      if (isOver()) break;
      to(from, "prog", id, SOURCE, fraction, `${volts} V`);
      says("part", volts);
    }
  } catch ({ name, message, stack }) { last = ["err", name, message, stack.slice(-4096)]; }
  says(...isOver() ? ["late"] : last);
  open.delete(key);
}
const takes = { __proto__: null,
  here(from, why, life) { // Who has started again has asked nothing yet.
    if (parts.get(from)?.life !== life) forget(from, parts.set(from, { life, least: Infinity }));
    if (why === "new") to(from, ...here("you"));
  },
  beat(from, life) { if (parts.get(from)?.life !== life) to(from, ...here("new")); },
  bye(from, life) { if (parts.get(from)?.life === life) forget(from, parts.delete(from)); },
  ask(from, id, ttl, sent, topic, members, args, kwargs) { // Several at a time.
    const part = parts.get(from), key = `${from} ${id}`;
    if (!part) return to(from, "not", id, SOURCE, "declined");
    part.least = Math.min(part.least, now() - sent);
    const until = ttl === null ? Infinity : ttl / 1000 + sent + part.least;
    if (now() >= until) return to(from, "skip", id, SOURCE);
    serve(from, id, open.set(key, from) && key, until, args, kwargs);
  },
  can(from, id, members) { // With members it is for those that have not begun.
    if (!members && open.delete(`${from} ${id}`))
      to(from, "end", id, [[SOURCE, "missing", "running"]]);
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
