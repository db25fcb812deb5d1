// Asks all of a topic; prints, and publishes on "site.log", what came. Listeners hear each result.
//     node caller.mjs nats://127.0.0.1:4222 NAMESPACE NAME TOPIC TTL_MS ARGUMENT ...
import { connect } from "@nats-io/transport-node";
const [servers, namespace, me, topic, ttl, ...args] = process.argv.slice(2);
const nc = await connect({ servers, noEcho: true, maxReconnectAttempts: -1 });
const base = `ate1.${namespace}`, life = crypto.randomUUID(), now = () => performance.now() / 1000;
const send = (where, notice, frame) => nc.publish(
  `${base}.${where}.${me}`, JSON.stringify(frame), { reply: `${base}.n.${me}.${notice}` });
const to = (part, ...frame) => send(`p.${part}`, part, frame);
const all = (...frame) => send("all", "all.-", frame);
const here = (why) => ["here", why, life, 1, seq, {}, {}, [], { codecs: ["json"], version: "1" }];
const publish = (topic, value, request) => // Topics like these are subjects as they are.
  nc.publish(`${base}.r.${me}.${topic}`, JSON.stringify(["res", ++seq, topic, value, request]));
const parts = new Map(), left = new Map(), came = {}; // Who is there, who owes, what came.
let seq = 0, done;
function settle(member, verdict) {
  if (!left.has(member)) return;
  came[left.get(member)] = verdict;
  if ("value" in verdict) publish(topic, verdict.value, 1);
  if (left.delete(member) && !left.size) done();
}
const gone = (part) => parts.delete(part) && [...left.keys()].forEach((member) =>
  member.split(" ")[0] === part && settle(member, { not: "gone" }));
const takes = { __proto__: null,
  here(from, why, life, epoch, seq, topics, names) {
    if (parts.get(from)?.life !== life) gone(from);
    if (!(parts.get(from)?.epoch >= epoch)) parts.set(from, { life, epoch, topics, names });
    if (why === "new") to(from, ...here("you"));
  },
  bye: (from, life) => parts.get(from)?.life === life && gone(from),
  ans: (from, id, key, waited, ran, value) => settle(`${from} ${key}`, { value }),
  err: (from, id, key, waited, ran, type, message) => settle(`${from} ${key}`, { type, message }),
  not: (from, id, key, why) => settle(`${from} ${key}`, { not: why }),
  again: (from, first, last) => to(from, "lost", first, last), // Nothing is kept.
};
function callback(_, msg) {
  const from = msg.subject.split(".").pop();
  if (msg.headers?.code === 503) gone(from);
  else for (const line of msg.string().split("\n")) try {
    const [kind, ...fields] = JSON.parse(line);
    takes[kind]?.(from, ...fields);
  } catch (error) { console.error(line, error); } // It would end the reading of nats.js.
}
for (const on of [`p.${me}.*`, "all.*", `n.${me}.>`]) nc.subscribe(`${base}.${on}`, { callback });
setInterval(() => all("beat", life, 1, seq, now()), 1000);
all(...here("new"));
await new Promise((round) => setTimeout(round, 300));
for (const [part, { topics, names }] of parts) if (topics[topic]) {
  for (const key of topics[topic]) left.set(`${part} ${key}`, `${part}/${names[key]}`);
  to(part, "ask", 1, Number(ttl), now(), topic, topics[topic], args.map(JSON.parse), {}, {});
}
setInterval(() => { for (const each of left.keys()) to(each.split(" ")[0], "probe"); }, 200);
if (left.size) await new Promise((over) => { done = over; setTimeout(over, Number(ttl)); });
for (const name of left.values()) came[name] = { not: "missing" };
left.clear(); // Nothing counts any more.
console.log(JSON.stringify(came));
publish("site.log", came, null);
all("bye", life);
nc.drain().then(process.exit);
